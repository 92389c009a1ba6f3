package vmfile

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Root is the directory that holds the files of a machine which is another one, or
// is yet to be. In what is read from there, and told of it, paths are as on that
// machine. Nothing else counts of this one, neither its users nor its links, but
// that a link leads where it leads here: with Nix, into the store of both. An empty
// root is this machine.
type Root string

// Paths returns the directories of the user whose files are read. With a root they
// come from the environment only.
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
			"HOME=%s and USER=%s: with --root they must name the user", os.Getenv("HOME"), os.Getenv("USER"))
	}
	return p, nil
}

// Load reads all files.
func (r Root) Load(dirs []string, p instance.Paths) Set {
	if r == "" {
		return Load(dirs, p)
	}
	l := loader{root: r, specifiers: HostSpecifiers(p), check: p.CheckName}
	return l.load(dirs)
}

// path is where a file of the machine lies.
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
