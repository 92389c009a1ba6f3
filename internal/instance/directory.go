package instance

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ID returns the id of the instance of a work directory: its escaped path. If that is
// too long for a unit name, ID creates a short link to the directory in StateFiles and
// returns the escaped path of the link.
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
		err = MakeShortLink(link, path)
	}
	return id, err
}

// PathID returns the id of a work directory, as ID does, but does not access the file
// system. If link is not empty, it is the path of a short link that the id refers to, and
// the caller must create it with MakeShortLink.
func (p Paths) PathID(path string) (id, link string, err error) {
	if id = Escape(path); len(id) <= maxID() {
		return id, "", nil
	}
	link = filepath.Join(p.StateFiles(), shortName(path))
	if id = Escape(link); len(id) > maxID() {
		return "", "", fmt.Errorf("%s: too long for a unit name, and so is a link in %s: shorten one of the paths", path, p.StateFiles())
	}
	return id, link, nil
}

// MakeShortLink creates the short link to path unless it exists.
func MakeShortLink(link, path string) error {
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		return err
	}
	if err := os.Symlink(path, link); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// shortName returns the name of the short link to path. It is a hash, so links to
// different paths have different names.
func shortName(path string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(path)))[:16] }

// IsShortLink reports whether link has the name of the short link to path. The
// directory is not compared: the user manager's $XDG_STATE_HOME may differ from the
// shell's.
func IsShortLink(link, path string) bool { return filepath.Base(link) == shortName(path) }

// Directory returns the work directory of an id, for messages. If the id is the path of a
// short link, it returns the directory that the link points to.
func Directory(id string) (string, error) {
	path, err := Unescape(id)
	if err != nil {
		return "", err
	}
	if target, err := os.Readlink(path); err == nil && IsShortLink(path, target) {
		return target, nil
	}
	return path, nil
}

// Resolve returns the absolute path of a directory without symbolic links.
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

// Check returns an error if sharing path would give the guest access to the home
// directory, to the user manager's sockets or to all files. path must be absolute and
// without symbolic links.
func (p Paths) Check(path string) error { return p.Checker()(path) }

// Checker returns a function that does the same as Check. It resolves the symbolic links in
// p.Runtime only once, and is faster for many paths.
func (p Paths) Checker() func(path string) error {
	if runtime, err := filepath.EvalSymlinks(p.Runtime); err == nil {
		p.Runtime = runtime
	}
	return p.CheckName
}

// CheckName is like Check, but compares names only and does not access the file system. So
// path and the paths in p must not contain symbolic links.
func (p Paths) CheckName(path string) error {
	refuse := func(why string) error { return fmt.Errorf("refusing to share %s with a VM: %s", path, why) }
	switch {
	case strings.ContainsAny(path, "\n\x00"):
		return refuse("its name contains a newline, which is not allowed in a unit file")
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

// Contains reports whether path is dir or below it.
func Contains(dir, path string) bool { return path == dir || within(path, dir) }

// Overlap reports whether two directories are the same or one contains the other.
func Overlap(a, b string) bool { return Contains(a, b) || Contains(b, a) }

// within reports whether path is below dir.
func within(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
