package instance

import (
	"errors"
	"io/fs"
	"os"
)

// removeAll removes a directory, also if QEMU has taken the permissions of directories in it. Nothing
// changes it any more.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	os.Chmod(dir, 0o700)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	permit(root)
	return os.RemoveAll(dir)
}

// permit gives the owner all permissions of the directories in root. os.Root follows no link out of it.
func permit(root *os.Root) {
	d, err := root.Open(".")
	if err != nil {
		return
	}
	entries, _ := d.ReadDir(-1)
	d.Close()
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		root.Chmod(e.Name(), 0o700)
		if sub, err := root.OpenRoot(e.Name()); err == nil {
			permit(sub)
			sub.Close()
		}
	}
}
