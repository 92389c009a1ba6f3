package vmfile

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// Root is the directory that holds the files of a machine which is another one, or
// is yet to be. In what is read from there, and told of it, paths are as on that
// machine. Nothing else counts of this one, neither its users nor its links, but
// that a link leads where it leads here: with Nix, into the store of both. An empty
// root is this machine.
type Root string

// Environment finds out what the specifiers stand for: by the variables alone.
func (r Root) Environment() (Specifiers, error) {
	if r == "" {
		return Environment()
	}
	info, err := os.Stat(string(r))
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Path: string(r), Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, err
	}
	home, name := os.Getenv("HOME"), os.Getenv("USER")
	if !path.IsAbs(home) || path.Clean(home) == "/" || name == "" {
		return nil, hinted{
			fmt.Sprintf("HOME=%s and USER=%s: with --root they must say whose files are meant", home, name),
			fmt.Sprintf("HOME=/home/alice USER=alice claude-vm-generator --root=%s --dry-run", r),
		}
	}
	runtime := directory("XDG_RUNTIME_DIR", "")
	uid := strings.TrimPrefix(runtime, "/run/user/")
	if _, err := strconv.ParseUint(uid, 10, 32); err != nil {
		uid = ""
	}
	return specifiers(path.Clean(home), name, uid, runtime), nil
}

// Load reads all files.
func (r Root) Load(dirs []string, s Specifiers) Set {
	if r == "" {
		return Load(dirs, s)
	}
	l := loader{root: r, specifiers: s, check: s.Instances().CheckName}
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
		return physical(path)
	}
	return path
}
