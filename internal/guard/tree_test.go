package guard

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree is a directory that a guest can change.
type tree struct {
	t   testing.TB
	dir string
	*Guard
}

func newTree(t testing.TB) *tree {
	dir := t.TempDir()
	w := &tree{t, filepath.Join(dir, "work"), Open(filepath.Join(dir, "state", "guard", "id"))}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// git creates a git directory.
func (w *tree) git(path string) {
	w.t.Helper()
	w.write(path+"/HEAD", "ref: refs/heads/main\n")
	w.write(path+"/config", "[core]\n")
	w.write(path+"/hooks/pre-commit.sample", "#!/bin/sh\n")
	w.write(path+"/objects/info/packs", "")
	w.write(path+"/refs/heads/main", "")
}

func (w *tree) write(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *tree) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *tree) start() {
	w.t.Helper()
	w.must(w.Start(context.Background(), []string{w.dir}))
}

// end ends a run and returns what is new, as "change path".
func (w *tree) end() []string {
	w.t.Helper()
	found, err := w.End(context.Background())
	w.must(err)
	return w.list(found)
}

func (w *tree) pending() []string {
	w.t.Helper()
	found, err := w.Findings(context.Background())
	w.must(err)
	return w.list(found)
}

func (w *tree) list(found []Finding) []string {
	list := []string{}
	for _, f := range found {
		list = append(list, string(f.Change)+" "+strings.TrimPrefix(f.Path, w.dir+"/"))
	}
	slices.Sort(list)
	return list
}

func (w *tree) want(what string, got []string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
