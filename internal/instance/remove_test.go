package instance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestRemoveAll removes directories without permissions, but nothing that links point to.
func TestRemoveAll(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("root needs no permissions; test/attack/host/directory-without-permissions.sh runs as a user")
	}
	kept := t.TempDir()
	dir := filepath.Join(t.TempDir(), "dir")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "a/b"), 0o700), os.WriteFile(filepath.Join(dir, "a/b/c"), nil, 0o600),
		os.Symlink(kept, filepath.Join(dir, "link")), os.Chmod(kept, 0o500),
		os.Chmod(filepath.Join(dir, "a/b"), 0), os.Chmod(filepath.Join(dir, "a"), 0), os.Chmod(dir, 0o500),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := removeAll(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("what a link points to: %v, %v", info, err)
	}
}
