package vmfile

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Root is the directory with the root file system of another machine, or of one that
// does not exist yet. Paths in files and in messages are relative to it. Users and
// symbolic links of this machine are not considered, except that links below the root
// are followed on this machine: with Nix, they point to a store that both have. An empty
// Root means this machine.
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

// Load reads all files in dirs, which are directories of the machine.
func (r Root) Load(dirs []string, p instance.Paths) Set {
	if r == "" {
		return Load(dirs, p)
	}
	l := loader{root: r, specifiers: HostSpecifiers(p), check: p.CheckName}
	return l.load(dirs)
}

// path returns the path on this machine of a file of the machine.
func (r Root) path(name string) string {
	if r == "" {
		return name
	}
	return string(r) + "/" + name
}

func (r Root) physical(path string) string {
	if r == "" {
		return instance.Physical(path)
	}
	return path
}
