package protect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// makeTree creates files in a new directory. A name that ends in "/" is a directory,
// "a -> b" is a symbolic link, and "a | b" a named pipe.
func makeTree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		name, target, isLink := strings.Cut(name, " -> ")
		name, isPipe := strings.CutSuffix(name, "|")
		full := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(strings.NewReplacer("DIR", dir, "BASE", filepath.Base(dir)).Replace(target), full)
		case isPipe:
			err = unix.Mkfifo(full, 0o600)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		default:
			err = os.WriteFile(full, []byte("old"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLook(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tree   []string
		wishes string // paths; those after "-" are to be hidden
		want   string
	}{
		{"nothing there", []string{"a"}, ".git/config .envrc", ""},
		{"file", []string{".envrc"}, ".envrc", ".envrc ro"},
		{"parents", []string{"a/b/c"}, "a/b/c", "a rw, a/b rw, a/b/c ro"},
		{"only the existing ones", []string{".git/config"}, ".git/hooks .git/config", ".git rw, .git/config ro"},
		{"file in place of a directory", []string{".git"}, ".git/hooks .git/config", ".git ro"},
		{"nothing to hide below a file", []string{".git"}, "- .git/secret", ""},
		{"link", []string{".envrc -> env", "env"}, ".envrc", ".envrc ro, env ro"},
		{"link in a directory", []string{".claude -> dot/claude", "dot/claude/settings.json"}, ".claude/settings.json",
			".claude ro, dot rw, dot/claude rw, dot/claude/settings.json ro"},
		{"link to itself", []string{".envrc -> .envrc"}, ".envrc", ".envrc ro"},
		{"links in a circle", []string{"a -> b", "b -> a"}, "a", "a ro, b ro"},
		{"dangling link", []string{"a -> gone"}, "a/b", "a ro"},
		{"link out of the directory", []string{"a -> ../x", "b -> /etc", "c -> ."}, "a/b b c/d", "a ro, b ro, c ro"},
		{"absolute link", []string{"a -> DIR/b/c", "b/c"}, "a", "a ro, b rw, b/c ro"},
		{"link through a parent", []string{"a/l -> ../b", "b/c"}, "a/l/c", "a rw, a/l ro, b rw, b/c ro"},
		{"link to the directory itself", []string{"a/l -> ."}, "a/l", "a rw, a/l ro"},
		{"out of the directory and back", []string{"a -> DIR/../BASE/b", "b/c"}, "a", "a ro, b ro"},
		{"dots after a link", []string{"a -> DIR/l/../c", "l -> d/e", "d/e/", "d/c", "c"}, "a", "a ro, d rw, d/c ro, l ro"},
		{"named pipe", []string{".envrc|"}, ".envrc", ".envrc ro"},
		{"name too long", []string{"a/"}, "a/" + strings.Repeat("x", 256), ""},
		{"hidden", []string{"a/b"}, "a - a/b", "a ro, a/b hidden"},
		{"in a hidden one", []string{"a/b/c"}, "a/b/c - a", "a hidden"},
		{"both", []string{"a"}, "a - a", "a hidden"},
		{"all", []string{"-/x", "a/b"}, ". a/b -/x - a/b", ". ro, a/b hidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := makeTree(t, tt.tree...)
			got, err := Look(roots(t, dir), wishes(dir, tt.wishes))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, text(got.Mounts[0])); diff != "" {
				t.Errorf("mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLookLimits checks what Look rejects or warns of.
func TestLookLimits(t *testing.T) {
	deep := strings.Repeat("d/", 300)
	for _, tt := range []struct{ tree, wish, want string }{
		{"a -> /proc/self/cwd/b", "a", "leads to /proc"},
		{"a -> b\xff", "a", "not valid UTF-8"},
		{"a -> " + deep, "a", "too many directories"},
		{"a -> .", "a", "a directory that contains it"},
	} {
		dir := makeTree(t, tt.tree, "b\xff", deep)
		found, err := Look(roots(t, dir), wishes(dir, tt.wish))
		if got := fmt.Sprint(err, found.Warnings); !strings.Contains(got, tt.want) || !strings.Contains(got, dir+"/a") {
			t.Errorf("%.30s: %s", tt.tree, got)
		}
	}
	dir := makeTree(t, "a")
	if err := os.Link(dir+"/a", dir+"/b"); err != nil {
		t.Fatal(err)
	}
	if found, err := Look(roots(t, dir), wishes(dir, "a")); err != nil || len(found.Warnings) != 1 || !strings.Contains(found.Warnings[0], "2 names") {
		t.Errorf("a hard link: %v, %v", found, err)
	}
}

// TestLookOtherRoot checks that the target of a link is protected in another shared directory.
func TestLookOtherRoot(t *testing.T) {
	dir := makeTree(t, "w/link -> ../other/sub/file", "other/sub/file", "w/inner/x")
	found, err := Look(roots(t, dir+"/w", dir+"/other", dir+"/w/inner"), wishes(dir, "w/link w/inner/x"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, mounts := range found.Mounts {
		got = append(got, text(mounts))
	}
	if diff := cmp.Diff([]string{"link ro", "sub rw, sub/file ro", "x ro"}, got); diff != "" {
		t.Errorf("mismatch (-want +got):\n%s", diff)
	}
}

// TestLookReplaced checks that Look looks into the open directory, not at what its path has
// become, and that a directory in another one can be hidden there.
func TestLookReplaced(t *testing.T) {
	dir := makeTree(t, "w/.git/config", "w/in/x", "decoy/")
	all := roots(t, dir+"/w", dir+"/w/in")
	if err := os.Rename(dir+"/w", dir+"/moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("decoy", dir+"/w"); err != nil {
		t.Fatal(err)
	}
	found, err := Look(all, append(wishes(dir, "w/.git/config"), Wish{dir + "/w/in", Hidden}))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(found.Mounts[0]) + "; " + text(found.Mounts[1]); got != ".git rw, .git/config ro, in hidden; " {
		t.Errorf("mounts: %s", got)
	}
}

func TestOpen(t *testing.T) {
	dir := makeTree(t, "a/b", "l -> a", "a/m -> b")
	for name, opens := range map[string]bool{"a": true, "a/b": true, "l": false, "l/b": false, "a/m": false, "none": false} {
		fd, err := Open(filepath.Join(dir, name))
		if (err == nil) != opens {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
}

func wishes(dir, words string) []Wish {
	var all []Wish
	mode := ReadOnly
	for _, word := range strings.Fields(words) {
		if word == "-" {
			mode = Hidden
			continue
		}
		all = append(all, Wish{filepath.Join(dir, word), mode})
	}
	return all
}

func roots(t *testing.T, dirs ...string) []Root {
	t.Helper()
	var all []Root
	for _, dir := range dirs {
		fd, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		all = append(all, Root{dir, fd})
	}
	return all
}

func text(mounts []Mount) string {
	var all []string
	for _, m := range mounts {
		all = append(all, m.Path+" "+strings.NewReplacer("read-write", "rw", "read-only", "ro").Replace(string(m.Mode)))
	}
	return strings.Join(all, ", ")
}

// TestMain runs TestApply's part in the namespaces when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PROTECT_TEST_DIRECTORY"); dir != "" {
		if err := attack(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("PROTECT_TEST_WATCH"); dir != "" {
		if err := watchFiles(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestApply makes mounts and tries to get around them, in a user and a mount namespace.
func TestApply(t *testing.T) {
	dir := makeTree(t, ".git/config", ".git/hooks/pre-commit", ".envrc -> env", "env", ".loop -> .loop", "gitfile",
		"pipe|", "secret", "secrets/key", "closed/x", "free")
	if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "closed"), 0o700) })
	if out, err := inNamespaces(t, "PROTECT_TEST_DIRECTORY="+dir).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// attack runs in the namespaces.
func attack(dir string) error {
	_, _, err := protectTree(dir, ".git/config .git/hooks .envrc .loop gitfile/x pipe closed - secret secrets gone")
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	write := func(name string) error { return os.WriteFile(name, []byte("new"), 0o644) }
	var errs []error
	refused := func(what string, got error, want ...error) {
		for _, w := range want {
			if errors.Is(got, w) {
				return
			}
		}
		errs = append(errs, fmt.Errorf("%s: got error %v, want %v", what, got, want))
	}
	refused("write .git/config", write(".git/config"), unix.EROFS)
	refused("new hook", write(".git/hooks/post-commit"), unix.EROFS)
	refused("rename .git", os.Rename(".git", "other"), unix.EBUSY)
	refused("replace .git/config", os.Rename("free", ".git/config"), unix.EBUSY, unix.EXDEV)
	refused("remove .git/hooks", os.Remove(".git/hooks"), unix.EBUSY)
	refused("remove a link", os.Remove(".envrc"), unix.EBUSY)
	refused("rename a link", os.Rename(".envrc", "x"), unix.EBUSY)
	refused("replace a link", os.Rename("free", ".loop"), unix.EBUSY)
	refused("write a link's target", write(".envrc"), unix.EROFS)
	refused("write the file in place of a directory", write("gitfile"), unix.EROFS)
	refused("remove a named pipe", os.Remove("pipe"), unix.EBUSY)
	refused("open a closed directory", os.Chmod("closed", 0o700), unix.EROFS)
	refused("remove what is hidden", os.Remove("secret"), unix.EBUSY)
	refused("change what is hidden", os.Chmod("secret", 0o600), unix.EROFS)
	if text, err := os.ReadFile("secret"); len(text) > 0 {
		errs = append(errs, fmt.Errorf("read what is hidden: %q, %v", text, err))
	}
	if entries, err := os.ReadDir("secrets"); len(entries) > 0 {
		errs = append(errs, fmt.Errorf("read what is hidden: %v, %v", entries, err))
	}
	if text, err := os.ReadFile(".envrc"); string(text) != "old" {
		errs = append(errs, fmt.Errorf("read through a link: %q, %v", text, err))
	}
	refused("write the rest", errors.Join(write(".git/index"), write("free"), os.Rename("free", "other")), nil)
	return errors.Join(errs...)
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{`/a\040b`: "/a b", `/a\134040`: `/a\040`, `/a\`: `/a\`, `/\999`: `/\999`, "/日": "/日"} {
		if got := unescape(text); got != want {
			t.Errorf("unescape(%q) = %q, want %q", text, got, want)
		}
	}
}
