package hostchanges

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
)

// newTestTree watches a directory with subdirectories.
func newTestTree(t *testing.T, dirs ...string) (*tree, string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := openTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.close)
	tree.add(".", func(string) {})
	return tree, dir
}

func TestTree(t *testing.T) {
	tree, dir := newTestTree(t, "a/b", "node_modules/x", ".git")
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string) func() error {
		return func() error { return os.WriteFile(at(name), []byte(name), 0o600) }
	}
	for _, step := range []struct {
		what string
		do   func() error
		want string
	}{
		{"a new file", write("a/b/new"), "a/b/new"},
		{"a changed file", write("a/b/new"), "a/b/new"},
		{"a skipped file", func() error {
			return errors.Join(write("node_modules/x/y")(), write("a/f")())
		}, "a/f"},
		{"a file in a new directory", func() error { return errors.Join(os.Mkdir(at("c"), 0o700), write("c/f")()) }, "c c/f"},
		{"a file in a directory that is new since then", write("c/g"), "c/g"},
		{"a moved directory", func() error { return os.Rename(at("c"), at("a/d")) }, ". a/d a/d/f a/d/g"},
		{"a file in it", write("a/d/f"), "a/d/f"},
		{"a removed file", func() error { return os.Remove(at("a/d/f")) }, "a/d"},
		{"a replaced file", func() error { return errors.Join(write("tmp")(), os.Rename(at("tmp"), at("a/d/g"))) }, ". a/d/g tmp"},
		{"a removed directory", func() error { return os.RemoveAll(at("a/d")) }, "a a/d"},
		{"a mode", func() error { return errors.Join(os.Chmod(at("a/f"), 0o644), write("last")()) }, "last"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		paths, err := tree.next()
		if got := strings.Join(slices.Sorted(maps.Keys(paths)), " "); got != step.want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", step.what, got, err, step.want)
		}
	}
	for _, p := range tree.dirs {
		if strings.HasPrefix(p, "c") || strings.HasPrefix(p, "node_modules/") || strings.HasPrefix(p, ".git") {
			t.Errorf("%s is watched", p)
		}
	}
}

// TestOutside checks that a link does not lead out of the directory.
func TestOutside(t *testing.T) {
	outside := t.TempDir()
	os.Mkdir(filepath.Join(outside, "d"), 0o700)
	tree, dir := newTestTree(t, "in")
	os.Symlink(outside, filepath.Join(dir, "link"))
	if err := tree.watch("link/d"); err == nil {
		t.Error("a directory outside is watched")
	}
	if err := tree.watch("in"); err != nil {
		t.Error(err)
	}
}

func TestMany(t *testing.T) {
	tree, dir := newTestTree(t)
	for i := range 2 * maxChanges {
		os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600)
	}
	if paths, err := tree.next(); len(paths) != maxChanges || err != nil {
		t.Errorf("%d changes, %v", len(paths), err)
	}
}

// TestWatch checks what is reported, and that a change of nothing but an equal time of modification is not: the
// guest makes one for each report.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	reports := make(chan string, 10)
	report := func(changes []contract.Change) bool {
		var paths []string
		for _, c := range changes {
			paths = append(paths, string(c.Path))
			at, now := time.Unix(0, c.Modified), time.Now()
			if err := os.Chtimes(filepath.Join(dir, string(c.Path)), now, at); err != nil {
				t.Error(err)
			}
		}
		slices.Sort(paths)
		reports <- strings.Join(paths, " ")
		return true
	}
	ended := make(chan error)
	go func() {
		ended <- Watch(t.Context(), dir, report, func(err error) { t.Error(err) })
	}()
	for watched := false; !watched; {
		os.WriteFile(filepath.Join(dir, "first"), []byte(time.Now().String()), 0o600)
		select {
		case <-reports:
			watched = true
		case <-time.After(longest):
		}
	}
	for _, name := range []string{"a", "b\xff", "a"} {
		os.WriteFile(filepath.Join(dir, name), []byte(time.Now().String()), 0o600)
		select {
		case got := <-reports:
			if got != name {
				t.Errorf("got %q, want %q", got, name)
			}
		case err := <-ended:
			t.Fatal(err)
		}
	}
	time.Sleep(3 * quiet)
	select {
	case got := <-reports:
		t.Errorf("%q is reported again", got)
	default:
	}
}
