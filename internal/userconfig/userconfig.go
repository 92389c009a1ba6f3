// Package userconfig copies what a user has written for Claude Code in ~/.claude: instructions,
// skills, commands, agents and output styles. Settings, hooks, logins and history are not among
// that, and nothing else of the host may get into the copy.
//
// The files may be symbolic links, for example into a directory of dotfiles or into the Nix
// store. A guest may be able to write to where links point, but it must not make a link to a
// secret of the host that is copied for the next guest. So links are followed only where no
// guest can make them: see trusted. Elsewhere, they must stay in the directory to which a
// trusted link has led.
package userconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/t0mpr1c3/claude-microvm/internal/protect"
	"golang.org/x/sys/unix"
)

// Names are what is copied.
var Names = []string{"CLAUDE.md", "agents", "commands", "output-styles", "skills"}

// Limits of the copy, which is in memory.
const (
	maxFiles = 4000
	maxBytes = 16 << 20
	maxDepth = 16
	maxLinks = 40 // as in the kernel
)

// errLimit ends the copy.
var errLimit = fmt.Errorf("more than %d files, or %d MiB", maxFiles, maxBytes>>20)

// copier is the state of one copy.
type copier struct {
	home, claude string
	shared       []string // directories that guests can write
	files        int
	bytes        int64
	warnings     []string
	above        []inode // the directories that are being copied
}

type inode struct{ device, number uint64 }

// Copy copies the files of the user with a home directory, a path without links, to a new
// directory. shared are directories that guests can write. It returns what it has left out, and
// whether it has copied a file.
func Copy(home, to string, shared []string) (warnings []string, copied bool, err error) {
	c := &copier{home: home, claude: filepath.Join(home, ".claude"), shared: shared}
	if err := os.Mkdir(to, 0o700); err != nil {
		return nil, false, err
	}
	for _, name := range Names {
		path := filepath.Join(c.claude, name)
		if _, err := os.Lstat(path); err != nil {
			continue // usually there is none
		}
		switch err := c.follow(path, filepath.Join(to, name), 0); {
		case errors.Is(err, errLimit):
			c.warn(path, err)
			return c.warnings, c.files > 0, nil
		case err != nil:
			return nil, false, err
		}
	}
	return c.warnings, c.files > 0, nil
}

// maxWarnings is how many paths are named.
const maxWarnings = 5

func (c *copier) warn(path string, err error) {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if len(c.warnings) < maxWarnings {
		c.warnings = append(c.warnings, fmt.Sprintf("%s is not in the VM: %v", path, err))
	}
}

// follow copies what a path refers to. It returns an error only if the copy cannot go on.
func (c *copier) follow(path, to string, depth int) error {
	real, err := c.resolve(path)
	if err != nil {
		c.warn(path, err)
		return nil
	}
	// Without following links: the path could have changed since resolve.
	fd, err := protect.Open(real)
	if err != nil {
		c.warn(path, err)
		return nil
	}
	defer unix.Close(fd)
	open := fmt.Sprintf("/proc/self/fd/%d", fd)
	info, err := os.Stat(open)
	if err != nil {
		c.warn(path, err)
		return nil
	}
	if !info.IsDir() {
		return c.file(info, path, to, func() (*os.File, error) { return os.OpenFile(open, os.O_RDONLY|unix.O_NONBLOCK, 0) })
	}
	root, err := os.OpenRoot(open)
	if err != nil {
		c.warn(path, err)
		return nil
	}
	defer root.Close()
	return c.directory(tree{root, real}, ".", to, depth)
}

// tree is a directory and its path without links.
type tree struct {
	root *os.Root
	path string
}

// directory copies a directory of a tree.
func (c *copier) directory(t tree, name, to string, depth int) error {
	path := filepath.Join(t.path, name)
	f, err := t.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0) // a named pipe would block
	if err != nil {
		c.warn(path, err)
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	this := inode{st.Dev, st.Ino}
	if depth >= maxDepth || slices.Contains(c.above, this) {
		c.warn(path, errors.New("too many directories, or a link to a directory above"))
		return nil
	}
	c.above = append(c.above, this)
	defer func() { c.above = c.above[:len(c.above)-1] }()
	entries, err := f.ReadDir(maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		c.warn(path, err)
		return nil
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == ".git" { // may have passwords, in URLs
			continue
		}
		if err := c.entry(t, filepath.Join(name, e.Name()), filepath.Join(to, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// entry copies a file, a directory or what a link points to.
func (c *copier) entry(t tree, name, to string, depth int) error {
	path := filepath.Join(t.path, name)
	info, err := t.root.Lstat(name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if c.trusted(filepath.Dir(path), info) {
			return c.follow(path, to, depth)
		}
		if info, err = t.root.Stat(name); err != nil { // also if it is outside of the tree
			err = fmt.Errorf("a link out of %s, where links are not followed", t.path)
		}
	}
	switch {
	case err != nil:
		c.warn(path, err)
		return nil
	case info.IsDir():
		return c.directory(t, name, to, depth)
	}
	return c.file(info, path, to, func() (*os.File, error) { return t.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) })
}

// file copies a regular file, and ignores others.
func (c *copier) file(info fs.FileInfo, path, to string, open func() (*os.File, error)) error {
	if !info.Mode().IsRegular() {
		return nil
	}
	in, err := open()
	if err != nil {
		c.warn(path, err)
		return nil
	}
	defer in.Close()
	if info, err = in.Stat(); err != nil || !info.Mode().IsRegular() { // replaced since then
		return err
	}
	if c.files++; c.files > maxFiles {
		return errLimit
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600|info.Mode()&0o111)
	if err != nil {
		return err
	}
	defer out.Close()
	n, err := io.Copy(out, io.LimitReader(in, maxBytes+1-c.bytes))
	if c.bytes += n; c.bytes > maxBytes {
		return errors.Join(errLimit, os.Remove(to))
	}
	return err
}

// resolve returns a path without links. All links must be trusted.
func (c *copier) resolve(path string) (string, error) {
	at, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, name) // also right for "", "." and ".."
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if !c.trusted(at, info) {
			return "", fmt.Errorf("it leads to %s, where links are not followed", next)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// trusted reports whether no guest can have made a link in a directory, a path without links:
// it is root's, or in the Nix store, directly in the home directory, which is never shared, or in
// ~/.claude, unless that is shared.
func (c *copier) trusted(dir string, link fs.FileInfo) bool {
	switch {
	case link.Sys().(*syscall.Stat_t).Uid == 0, within("/nix/store", dir), dir == c.home:
		return true
	case !within(c.claude, dir):
		return false
	}
	return !slices.ContainsFunc(c.shared, func(s string) bool { return within(s, dir) })
}

func within(parent, path string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }
