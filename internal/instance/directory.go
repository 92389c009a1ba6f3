package instance

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ID gives the instance of a work directory. A directory whose id is longer
// than a unit name can hold is reached through a short link in StateFiles, which
// ID makes, and the link's path is escaped instead.
func (p Paths) ID(dir string) (string, error) {
	path, err := Resolve(dir)
	if err != nil {
		return "", err
	}
	if err := p.Check(path); err != nil {
		return "", err
	}
	id, link, err := p.PathID(path)
	if err == nil && link != "" {
		err = MakeShort(link, path)
	}
	return id, err
}

// PathID gives the id of a path as ID does, without a look at the file system,
// and the short link that it needs, if it needs one.
func (p Paths) PathID(path string) (id, link string, err error) {
	if id = Escape(path); len(id) <= maxID() {
		return id, "", nil
	}
	link = filepath.Join(p.StateFiles(), shortName(path))
	if id = Escape(link); len(id) > maxID() {
		return "", "", fmt.Errorf("%s: too long for a unit name, and so is %s", path, p.StateFiles())
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
func (p Paths) Check(path string) error { return p.Checker()(path) }

// Checker gives Check for many paths.
func (p Paths) Checker() func(path string) error {
	if runtime, err := filepath.EvalSymlinks(p.Runtime); err == nil {
		p.Runtime = runtime
	}
	return p.CheckName
}

// CheckName is Check without a look at the file system: p is free of symbolic
// links, too.
func (p Paths) CheckName(path string) error {
	refuse := func(why string) error { return fmt.Errorf("refusing to share %s with a VM: %s", path, why) }
	switch {
	case strings.ContainsAny(path, "\n\x00"):
		return refuse("its name has a line break, which a unit cannot carry")
	case path == "/":
		return refuse("it is the whole file system")
	case path == p.Home:
		return refuse("it is your home directory, with your keys in it")
	case within(p.Home, path):
		return refuse("your home directory is in it")
	case within(p.runtime(), path):
		return refuse("your runtime directory, with the user manager's sockets, is in it")
	case path == p.runtime() || within(path, p.runtime()):
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
