package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMountPoints(t *testing.T) {
	root := t.TempDir()
	o := owner{home: root + "/home/claude", uid: os.Getuid(), gid: os.Getgid()}
	for range 2 { // existing files and directories are kept
		if err := o.makeDirectories(o.home + "/a/b"); err != nil {
			t.Fatal(err)
		}
		if err := o.makeFile(o.home + "/a/file"); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(o.home + "/a/file"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("file: %v, %v", info, err)
	}
	if err := o.makeDirectories(o.home + "/a/file/c"); err == nil {
		t.Error("made a directory in a file")
	}
}

func TestFillHome(t *testing.T) {
	home, kept := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".bashrc"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".bashrc", filepath.Join(home, "link")); err != nil {
		t.Fatal(err)
	}
	if err := fillHome("cp", kept, home); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(kept, "link")); string(text) != "x" || err != nil {
		t.Errorf("filled with %q, %v", text, err)
	}
	// The home is filled only once: removed files are not restored.
	if err := os.Remove(filepath.Join(kept, "link")); err != nil {
		t.Fatal(err)
	}
	if err := fillHome("cp", kept, home); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(kept, "link")); !os.IsNotExist(err) {
		t.Errorf("filled twice: %v", err)
	}
}
