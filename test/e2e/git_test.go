//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gitSetup precedes the scripts of layouts. "aged" makes a linked worktree that is old enough
// for git gc to forget it.
const gitSetup = `export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
	repository() { git init -q "$@"; (cd "$1"; echo x >file; git add file; git commit -qm x); }
	aged() { git -C "$1" worktree add -q "$PWD/hidden"; find "$(git -C hidden rev-parse --git-dir)" -exec touch -d '200 days ago' {} +; }
	`

// layout is a way in which git can keep its files.
type layout struct {
	script string // creates it on the host
	dir    string // the work directory
	mount  string // a value of Mount=
	git    string // the work tree that git is tried in, relative to dir
	aged   bool   // it has a linked worktree, hidden, that the guest does not see
}

var layouts = map[string]layout{
	"main":          {script: "repository w; aged w", dir: "w", aged: true},
	"worktree":      {script: "repository m; git -C m worktree add -q ../w; aged m", dir: "w", aged: true},
	"relative":      {script: "repository m; git -C m worktree add -q ../w; echo gitdir: ../m/.git/worktrees/w >w/.git", dir: "w"},
	"submodule":     {script: "repository a; repository s; git -C s -c protocol.file.allow=always submodule -q add ../a 'sub m'; aged 's/sub m'", dir: "s/sub m", aged: true},
	"bare":          {script: "repository a; git clone -q --bare a r.git; git -C r.git worktree add -q -b w ../w; aged r.git", dir: "w", aged: true},
	"inside bare":   {script: "repository a; git clone -q --bare a r.git; git -C r.git worktree add -q -b w w; aged r.git", dir: "r.git/w", aged: true},
	"git directory": {script: "repository a; mkdir w; git clone -q --bare a w/.bare; echo gitdir: ./.bare >w/.git; git -C w worktree add -q -b t t; aged w", dir: "w", git: "t", aged: true},
	"separate":      {script: "repository w --separate-git-dir=g; aged w", dir: "w", mount: "g:g", aged: true},
	"link":          {script: "repository m; mkdir w; ln -s ../m/.git w/.git; git -C w checkout -q -f; aged w", dir: "w", mount: "m/.git:m/.git", aged: true},
	"alternates":    {script: "repository m; git clone -q --shared m w; aged w", dir: "w", mount: "m/.git/objects:m/.git/objects:ro", aged: true},
	"nested":        {script: "mkdir w; repository w/a; aged w/a", dir: "w", git: "a", aged: true},
	"sparse": {script: "repository w; mkdir w/in w/out; touch w/in/x w/out/x; git -C w add .; git -C w commit -qm y; git -C w sparse-checkout set in; aged w",
		dir: "w", aged: true},
}

// TestGit uses git in all layouts, in the guest and on the host.
func TestGit(t *testing.T) {
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l.test(t, name)
		})
	}
}

func (l layout) test(t *testing.T, name string) {
	root := filepath.Join(os.Getenv("HOME"), strings.ReplaceAll(t.Name(), "/", "."))
	sh(t, ".", "mkdir -p '"+root+"'")
	sh(t, root, gitSetup+l.script)
	p := newProjectAt(t, filepath.Join(root, l.dir))
	if l.mount != "" {
		host, guest, _ := strings.Cut(l.mount, ":")
		p.vmFile("[Share]\nMount=" + word(root+"/"+host+":"+root+"/"+guest) + "\n")
	}
	tree := filepath.Join(p.dir, l.git)
	list := "git worktree list | sed -E 's/ +/ /g; s/ [0-9a-f]{7,} / /'" // without commits
	before := sh(t, tree, list)
	p.start()

	protected := "config hooks/evil commondir gitdir"
	switch name { // what belongs to a subdirectory is not protected
	case "nested":
		protected = ""
	case "git directory":
		protected = "config hooks/evil"
	}
	got := p.guest(gitSetup + "cd '" + tree + `'
		git status --porcelain
		echo guest >guest; git add guest; git commit -qm guest
		git gc -q --prune=now 2>&1
		for file in ` + protected + `; do
			file=$(git rev-parse --git-path $file)
			[ ! -e "${file%evil}" ] || ! echo evil >"$file" || echo "written: $file"
		done 2>/dev/null
		git worktree add -q .claude/worktrees/new 2>&1`)
	if got != "" {
		t.Errorf("git in the guest: %s", got)
	}
	if r := p.root("cd '" + tree + "' && git gc -q --prune=now && git worktree prune && git maintenance run && " + list); r.status != 0 || r.stderr != "" {
		t.Errorf("git as root: status %d\n%s", r.status, r.stdout+r.stderr)
	} else if want := before + filepath.Join(tree, ".claude/worktrees/new") + " [new]\n"; r.stdout != want {
		t.Errorf("worktrees in the guest:\n%swant:\n%s", r.stdout, want)
	}
	sh(t, tree, "[ -z \"$(git status --porcelain | grep -v '^?? .claude/$')\" ]; [ \"$(git log -1 --format=%s)\" = guest ]; git fsck; cd .claude/worktrees/new; git status; git log -1")
	if l.aged {
		sh(t, root+"/hidden", "git status; [ -z \"$(git status --porcelain)\" ]; [ \"$(git log -1 --format=%s)\" != guest ]")
		// Registered on the host while the VM runs.
		sh(t, tree, "git worktree add -q '"+root+"/late'")
		p.eventually("the guest knows of the new worktree", func() bool {
			return p.root("ls '"+root+"/late/.git'").status == 0
		})
		p.root("cd '" + tree + "' && git worktree prune")
		sh(t, root+"/late", "git status")
	}
}

// sh runs a script on the host, which must succeed, and returns its output.
func sh(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// TestGitLFS checks that the guest stores large files as the host's git would.
func TestGitLFS(t *testing.T) {
	t.Parallel()
	p := newProject(t, "lfs")
	sh(t, p.dir, gitSetup+"git init -q; echo '*.bin filter=lfs diff=lfs merge=lfs -text' >.gitattributes; git add .; git commit -qm x")
	p.start()
	p.guest(gitSetup + "seq 10000 >a.bin; git add a.bin; git commit -qm bin; git status --porcelain")
	if got := sh(t, p.dir, "git cat-file -p HEAD:a.bin"); !strings.HasPrefix(got, "version https://git-lfs.github.com/spec/v1\n") {
		t.Errorf("a.bin in the repository: %.200s", got)
	}
}
