package dropin

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample has nodes of all kinds.
var sample = Tree{
	{Path: "claude-vm-setup@.service.d/10-defaults.conf", Text: header + "; 1\n"},
	{Path: `claude-vm-setup@srv-a\x20b.service.d/50-vm.conf`, Text: header + "; 2\n"},
	{Path: `claude-vm-virtiofsd@srv-a\x20b.service.d/50-vm.conf`, Text: header + "; 3\n"},
	{Path: `claude-vm@srv-a\x20b.service.d/50-vm.conf`, Text: header + "; 4\n"},
	{Path: `default.target.wants/claude-vm@srv-a\x20b.service`, Target: "../claude-vm@.service"},
	{Path: `x@y.service.upholds/claude-vm@srv-a\x20b.service`, Target: "../claude-vm@.service"},
}

// files returns what is below a directory, by path: the text of files, "-> " and the
// target of links, and "empty" for empty directories.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.IsDir():
			if entries, err := os.ReadDir(path); err != nil || len(entries) > 0 {
				return err
			}
			found[name] = "empty"
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		default:
			text, err := os.ReadFile(path)
			found[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// files returns what files finds after Write.
func (t Tree) files() map[string]string {
	all := map[string]string{}
	for _, n := range t {
		all[n.Path] = n.Text
		if n.Target != "" {
			all[n.Path] = "-> " + n.Target
		}
	}
	return all
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	if err := sample.Write(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample.files(), files(t, dir)); diff != "" {
		t.Errorf("Write() mismatch (-want +got):\n%s", diff)
	}
}

// TestWriteAgain checks that Write does not overwrite a file, and names it in the error.
func TestWriteAgain(t *testing.T) {
	for name, n := range map[string]Node{"a file": sample[3], "a link": sample[5]} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, n.Path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := sample.Write(dir)
			if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
				t.Errorf("Write() = %v, want that %s exists", err, path)
			}
			if text, err := os.ReadFile(path); string(text) != "mine" || err != nil {
				t.Errorf("%s has become %q, %v", path, text, err)
			}
		})
	}
	t.Run("a whole tree", func(t *testing.T) {
		dir := t.TempDir()
		if err := sample.Write(dir); err != nil {
			t.Fatal(err)
		}
		if err := sample.Write(dir); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Write() = %v, want that it exists", err)
		}
	})
}

// TestRemove checks that remove and Clear remove everything that Write creates, also
// from a directory whose name has special characters of a pattern.
func TestRemove(t *testing.T) {
	for name, f := range map[string]func(string) error{"remove": remove, "Clear": Clear} {
		for _, dirName := range []string{"plain", `[a]*?\b`} {
			dir := filepath.Join(t.TempDir(), dirName)
			if err := f(dir); err != nil {
				t.Errorf("%s without the directory: %v", name, err)
			}
			if err := sample.Write(dir); err != nil {
				t.Fatal(err)
			}
			if err := f(dir); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{}, files(t, dir)); diff != "" {
				t.Errorf("%s of %s did not remove (-want +got):\n%s", name, dirName, diff)
			}
			if err := f(dir); err != nil {
				t.Errorf("%s with nothing to remove: %v", name, err)
			}
		}
	}
}

// TestRemoveForeign checks that remove keeps files of other programs and of the user.
func TestRemoveForeign(t *testing.T) {
	foreign := Tree{
		{Path: "claude-vm@.service", Text: "a unit"},
		{Path: "claude-vm@.service.d/10-defaults.conf", Text: "of another program"},
		{Path: `claude-vm@srv-a\x20b.service.d/override.conf`, Text: "[Service]"},
		{Path: `claude-vm@srv-a\x20b.service.d/60-vm.conf`, Text: header + ", with another name"},
		{Path: "claude-vm@srv-c.service.d/50-vm.conf", Text: "[Service]\n" + header},
		{Path: "claude-vm-setup@.service.d/zz-incomplete.conf", Text: guard.Text},
		{Path: "other@x.service.d/50-vm.conf", Text: header},
		{Path: `default.target.wants/claude-vm@srv-d.service`, Target: "/usr/lib/systemd/user/claude-vm@.service"},
		{Path: `default.target.wants/claude-vm@srv-e.service`, Text: "a file"},
		{Path: "default.target.wants/other.service", Target: "../claude-vm@.service"},
		{Path: "claude-vm@x.service", Target: "../claude-vm@.service"},
		{Path: "a/b.wants/claude-vm@x.service", Target: "../claude-vm@.service"},
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b.wants"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tree := range []Tree{sample, foreign} {
		if err := tree.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := remove(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(foreign.files(), files(t, dir)); diff != "" {
		t.Errorf("remove() mismatch (-want +got):\n%s", diff)
	}
}

func TestReplace(t *testing.T) {
	broken := errors.New("broken")
	half := Tree{{Path: sample[0].Path, Text: sample[0].Text[:10]}, {Path: sample[3].Path}, {Path: guard.Path}, {Path: guard.Path + ".new"}}
	foreign := Tree{{Path: "claude-vm-setup@.service.d/override.conf", Text: "[Service]\n"}}
	for name, test := range map[string]struct {
		before Tree
		err    error
		want   Tree
	}{
		"success removes the guard": {want: sample},
		"failure keeps the guard":   {err: broken, want: Tree{guard}},
		"after a killed process":    {before: half, want: sample},
		"repeated":                  {before: sample, want: sample},
		"with files of the user":    {before: foreign, want: append(slices.Clone(sample), foreign...)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			if err := test.before.Write(dir); err != nil {
				t.Fatal(err)
			}
			err := Replace(dir, func() (Tree, error) {
				if files(t, dir)[guard.Path] != guard.Text {
					t.Error("build was called without the guard")
				}
				return sample, test.err
			})
			if err != test.err {
				t.Errorf("Replace() = %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want.files(), files(t, dir)); diff != "" {
				t.Errorf("Replace() mismatch (-want +got):\n%s", diff)
			}
			if got := sample.IsIn(dir); got != (test.err == nil) {
				t.Errorf("IsIn() = %v", got)
			}
		})
	}
}

// TestReplaceFails checks that Replace does not call build if it cannot create the guard.
func TestReplaceFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Replace(file, func() (Tree, error) {
		t.Error("build was called")
		return nil, nil
	})
	if err == nil {
		t.Error("Replace() succeeded")
	}
}

// TestGuardIsLast checks that systemd reads the guard after all other drop-ins of the
// setup unit, so that its refusal takes precedence.
func TestGuardIsLast(t *testing.T) {
	for _, name := range []string{defaultsName, vmName, "override.conf"} {
		if filepath.Base(guard.Path) <= name {
			t.Errorf("%s is read before %s", guard.Path, name)
		}
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	if err := (Tree{{Path: "a", Text: "A\n"}, {Path: "b", Text: "B\n"}, {Path: "c", Target: "../d"}}).Print(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("# a\nA\n\n# b\nB\n\n# c -> ../d\n", b.String()); diff != "" {
		t.Errorf("Print() mismatch (-want +got):\n%s", diff)
	}
}
