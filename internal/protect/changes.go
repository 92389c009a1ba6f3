package protect

import (
	"errors"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/inotify"
	"golang.org/x/sys/unix"
)

// changes tells when a file appears at a protected path or is moved away from it. If a program of the host
// renames a protected file, the mount goes with the file: the mount table does not change, and what the
// program creates in its place is not protected.
type changes struct {
	fd          int
	directories map[int]string // by watch descriptor
	paths       map[string]bool
	// incomplete is set if a directory cannot be watched, for example because the user has no more watches.
	incomplete bool
}

func newChanges(shares []Shared) *changes {
	c := &changes{directories: map[int]string{}, paths: map[string]bool{}}
	for _, s := range shares {
		for _, m := range s.Mounts {
			if m.Path != "." {
				c.paths[filepath.Join(s.Root, m.Path)] = true
			}
		}
	}
	var err error
	if c.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		c.fd, c.incomplete = -1, true // which poll(2) ignores
	}
	return c
}

func (c *changes) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
}

// watch watches the directories that are now in the paths.
func (c *changes) watch() {
	if c.fd < 0 {
		return
	}
	c.incomplete = false
	done := map[string]bool{}
	for path := range c.paths {
		dir := filepath.Dir(path)
		if done[dir] {
			continue
		}
		done[dir] = true
		const events = unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR
		switch id, err := unix.InotifyAddWatch(c.fd, dir, events); err {
		case nil:
			c.directories[id] = dir
		case unix.ENOENT, unix.ENOTDIR: // what is in it is absent
		default:
			c.incomplete = true
		}
	}
}

// seen reads all events, and reports whether one is of a protected path.
func (c *changes) seen() (bool, error) {
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Read(c.fd, buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, err
		}
		for e := range inotify.Events(buf[:n]) {
			if e.Mask&unix.IN_Q_OVERFLOW != 0 || c.paths[filepath.Join(c.directories[e.Watch], e.Name)] {
				return true, nil // the next call reads the rest
			}
		}
	}
}
