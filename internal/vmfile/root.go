package vmfile

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Root is a directory with the root file system of another machine, such as an image that
// is being built. Paths in .vm files and in messages are paths on that machine. The user
// database of this machine is not used, and a work directory may contain symbolic links, as
// they cannot be resolved here. But if a .vm file itself is a link, it is followed on this
// machine: with Nix, it points to the store, which both machines have. An empty Root means
// this machine.
type Root string

// Paths returns the directories of the user whose files are read. With a root, only the
// environment is used, not the user database.
func (r Root) Paths() (instance.Paths, error) {
	if r == "" {
		return instance.HostPaths()
	}
	info, err := os.Stat(string(r))
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Path: string(r), Err: syscall.ENOTDIR}
	}
	if err != nil {
		return instance.Paths{}, err
	}
	p, ok := instance.EnvironmentPaths()
	if !ok {
		return p, invalid("HOME=/home/alice USER=alice claude-vm-generator --root="+failure.Command(string(r))+" --dry-run",
			"HOME=%s and USER=%s: --root needs the home directory and the name of a user", os.Getenv("HOME"), os.Getenv("USER"))
	}
	return p, nil
}

// Load does the same as the function Load. dirs are paths on the machine of the root.
func (r Root) Load(dirs []string, p instance.Paths) Set {
	if r == "" {
		return Load(dirs, p)
	}
	l := loader{root: r, specifiers: HostSpecifiers(p), check: p.CheckName}
	return l.load(dirs)
}

// path converts a path on the machine of the root to a path on this machine.
func (r Root) path(name string) string {
	if r == "" {
		return name
	}
	return string(r) + "/" + name
}

// physical returns path without symbolic links; with a root, it returns path unchanged.
func (r Root) physical(path string) string {
	if r == "" {
		return instance.Physical(path)
	}
	return path
}
