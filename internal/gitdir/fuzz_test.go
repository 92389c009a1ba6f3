package gitdir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzFind gives a guest's text to all files that it can write: .git of the work directory, and those of a git
// directory in it. Whatever they say, what is shared is a git directory, and one outside of the work
// directory is confirmed only by a file there.
func FuzzFind(f *testing.F) {
	for _, seed := range [][4]string{
		{"gitdir: ../outside", "../outside", "/", "[core]\n\tworktree = ../work\n"},
		{"gitdir: .own/worktrees/w\n", "../..", "../../../.git", "[core]\n\tworktree = \"a\\\"b\" ; c\n"},
		{"gitdir: ../outside/worktrees/w", "../..", "", "[core] worktree = \\"},
		{"gitdir: /", "/", "/dev/zero", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	// One tree for all inputs, which replace files in it.
	root, err := filepath.EvalSymlinks(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	dir := filepath.Join(root, "work")
	own := filepath.Join(dir, ".own")
	for _, git := range []string{own, filepath.Join(root, "outside")} {
		for _, sub := range []string{"objects/info", "refs", "worktrees/w", "modules/m"} {
			if err := os.MkdirAll(filepath.Join(git, sub), 0o700); err != nil {
				f.Fatal(err)
			}
		}
		write(f, filepath.Join(git, "HEAD"), "ref: refs/heads/main\n")
	}
	f.Fuzz(func(t *testing.T, entry, commondir, gitdir, config string) {
		write(t, filepath.Join(dir, ".git"), entry)
		write(t, filepath.Join(own, "worktrees/w/commondir"), commondir)
		write(t, filepath.Join(own, "worktrees/w/gitdir"), gitdir)
		write(t, filepath.Join(own, "config"), config)
		write(t, filepath.Join(own, "objects/info/alternates"), commondir+"\n"+gitdir)
		r, err := Find(dir)
		if err != nil || r.Common == "" {
			return
		}
		if !isGitDir(r.Common) || r.Common != filepath.Clean(r.Common) {
			t.Errorf("%q is no git directory", r.Common)
		}
		if real, err := filepath.EvalSymlinks(r.Common); err != nil || real != r.Common {
			t.Errorf("%q has symbolic links: %v", r.Common, err)
		}
		if r.Confirmed && !strings.HasPrefix(r.Common+"/", dir+"/") {
			t.Errorf("%q is confirmed, but nothing in it is", r.Common)
		}
		Linked(r.Common, dir)
		Modules(r.Common)
		Nested(dir)
		for _, objects := range Alternates(r.Common) {
			if !isGitDir(filepath.Dir(objects)) {
				t.Errorf("alternate %q", objects)
			}
		}
	})
}

// written is the content of files, to write only what differs from the last input.
var written = map[string]string{}

func write(t testing.TB, path, text string) {
	t.Helper()
	if last, found := written[path]; found && last == text {
		return
	}
	written[path] = text
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
