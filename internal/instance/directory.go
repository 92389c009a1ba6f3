package instance

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxID is the longest id with which the longest name, that of the directory of
// virtiofsd's drop-ins, is a file name.
const maxID = 255 - len("claude-vm-virtiofsd@.service.d")

// Environment is what instance names and rules depend on.
type Environment struct {
	Home       string // $HOME
	RuntimeDir string // $XDG_RUNTIME_DIR
	StateDir   string // $XDG_STATE_HOME/claude-vm
}

// HostEnvironment reads the process's environment. It fails without
// $XDG_RUNTIME_DIR, since then there is no user manager to talk to either.
func HostEnvironment() (Environment, error) {
	e := Environment{Home: os.Getenv("HOME"), RuntimeDir: os.Getenv("XDG_RUNTIME_DIR")}
	if e.Home == "" {
		e.Home = "/"
	}
	if e.RuntimeDir == "" {
		e.RuntimeDir = fmt.Sprintf("/run/user/%d", os.Getuid())
		if _, err := os.Stat(e.RuntimeDir); err != nil {
			return e, errors.New("XDG_RUNTIME_DIR is not set: this is not a login with a systemd user manager")
		}
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		state = filepath.Join(e.Home, ".local/state")
	}
	e.StateDir = filepath.Join(state, "claude-vm")
	return e, nil
}

// RuntimeDirectory is the directory of an instance's sockets and status.
func (e Environment) RuntimeDirectory(id string) string {
	return filepath.Join(e.RuntimeDir, "claude-vm", id)
}

// ShareDirectory has a symbolic link to each tree that an instance shares. It is
// beside the runtime directory: QEMU can write in that.
func (e Environment) ShareDirectory(id string) string { return e.beside(id, "share") }

// beside is a file of an instance beside its runtime directory. No id begins
// with a dot.
func (e Environment) beside(id, what string) string {
	return filepath.Join(e.RuntimeDir, "claude-vm", "."+id+"."+what)
}

// HomeDirectory is where the home of Claude is kept, for one instance or for all
// of the user's that share one.
func (e Environment) HomeDirectory(id, kind string) (string, error) {
	switch kind {
	case "project":
		return filepath.Join(e.StateDir, "project", id), nil
	case "user":
		return filepath.Join(e.StateDir, "user"), nil
	}
	return "", fmt.Errorf("Home=%s: not ephemeral, project or user", kind)
}

// ID gives the instance of a work directory. A directory whose id is longer
// than a unit name can hold is reached through a short link in StateDir, which
// ID makes, and the link's path is escaped instead.
func (e Environment) ID(dir string) (string, error) {
	path, err := Resolve(dir)
	if err != nil {
		return "", err
	}
	if err := e.Check(path); err != nil {
		return "", err
	}
	id, link, err := e.PathID(path)
	if err == nil && link != "" {
		err = MakeShort(link, path)
	}
	return id, err
}

// PathID gives the id of a path as ID does, without a look at the file system,
// and the short link that it needs, if it needs one.
func (e Environment) PathID(path string) (id, link string, err error) {
	if id = Escape(path); len(id) <= maxID {
		return id, "", nil
	}
	link = filepath.Join(e.StateDir, shortName(path))
	if id = Escape(link); len(id) > maxID {
		return "", "", fmt.Errorf("%s: too long for a unit name, and so is %s", path, e.StateDir)
	}
	return id, link, nil
}

// MakeShort makes the short link to path unless it is there.
func MakeShort(link, path string) error {
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		return err
	}
	if err := os.Symlink(path, link); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// shortName is the name of the link to a path that is too long. Being a hash,
// it cannot be that of a link to anything else.
func shortName(path string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(path)))[:16] }

// IsShort says whether link is the short link to path, wherever it lies: the
// user manager may have another $XDG_STATE_HOME than a shell.
func IsShort(link, path string) bool { return filepath.Base(link) == shortName(path) }

// Directory is the inverse of ID, for people: a short link is followed.
func Directory(id string) (string, error) {
	path, err := Unescape(id)
	if err != nil {
		return "", err
	}
	if target, err := os.Readlink(path); err == nil && IsShort(path, target) {
		return target, nil
	}
	return path, nil
}

// Resolve gives the absolute path of a directory, free of symbolic links.
func Resolve(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s: not a directory", path)
	}
	return path, nil
}

// Check refuses directories that would hand over more than a project. path is
// absolute and free of symbolic links.
func (e Environment) Check(path string) error { return e.Checker()(path) }

// Checker gives Check for many paths.
func (e Environment) Checker() func(path string) error {
	if p, err := filepath.EvalSymlinks(e.Home); err == nil {
		e.Home = p
	}
	if p, err := filepath.EvalSymlinks(e.RuntimeDir); err == nil {
		e.RuntimeDir = p
	}
	return e.CheckName
}

// CheckName is Check without a look at the file system: e is free of symbolic
// links, too.
func (e Environment) CheckName(path string) error {
	refuse := func(why string) error { return fmt.Errorf("refusing to share %s with a VM: %s", path, why) }
	switch {
	case strings.ContainsAny(path, "\n\x00"):
		return refuse("its name has a line break, which a unit cannot carry")
	case path == "/":
		return refuse("it is the whole file system")
	case path == e.Home:
		return refuse("it is your home directory, with your keys in it")
	case within(e.Home, path):
		return refuse("your home directory is in it")
	case within(e.RuntimeDir, path):
		return refuse("your runtime directory, with the user manager's sockets, is in it")
	case path == e.RuntimeDir || within(path, e.RuntimeDir):
		return refuse("it is in your runtime directory, with the user manager's sockets")
	}
	return nil
}

// Overlap says whether one of two directories is, or is in, the other.
func Overlap(a, b string) bool { return a == b || within(a, b) || within(b, a) }

// within says whether path is below dir.
func within(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
