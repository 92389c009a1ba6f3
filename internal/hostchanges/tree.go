package hostchanges

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/inotify"
	"golang.org/x/sys/unix"
)

const (
	// maxDirectories limits the kernel's memory for watches, about 1 KiB each, and what a VM takes of
	// the user's watches, fs.inotify.max_user_watches.
	maxDirectories = 8192
	// maxChanges limits what is reported at once.
	maxChanges = 200
	// quiet is how long nothing must change until changes are reported, for at most longest after
	// the first one.
	quiet   = 100 * time.Millisecond
	longest = time.Second
)

// events are those that a change of names or of a file's content has. IN_ATTRIB is missing: setting
// an owner or a mode is not reported.
const events = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// tree is a directory and those below it, which are watched.
type tree struct {
	root  *os.Root
	queue *os.File
	fd    int            // of queue, whose method Fd would make it block
	dirs  map[int]string // by watch descriptor
	full  error          // why a directory is not watched
	buf   []byte
}

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		root.Close()
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &tree{root: root, queue: os.NewFile(uintptr(fd), "inotify"), fd: fd, dirs: map[int]string{}, buf: make([]byte, 64<<10)}, nil
}

func (t *tree) close() {
	t.root.Close()
	t.queue.Close()
}

// skipped reports whether a directory is not watched: git's files and installed packages are many,
// and programs that watch a project ignore them.
func skipped(p string) bool {
	name := path.Base(p)
	return name == ".git" || name == "node_modules"
}

// add watches a directory and those below it. It calls found for what is in them.
func (t *tree) add(dir string, found func(path string)) {
	// Never returns an error: what vanishes meanwhile or cannot be read is left out.
	fs.WalkDir(t.root.FS(), dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case p != dir:
			found(p)
		}
		if !d.IsDir() {
			return nil
		}
		if p != "." && skipped(p) || t.full != nil {
			return fs.SkipDir
		}
		if err := t.watch(p); errors.Is(err, unix.ENOSPC) {
			t.full = errors.New("the limit of watches is reached, fs.inotify.max_user_watches of sysctl(8)")
		}
		if len(t.dirs) >= maxDirectories {
			t.full = fmt.Errorf("there are more than %d directories", maxDirectories)
		}
		return nil
	})
}

// watch watches a directory. It opens the directory first: os.Root does not follow a link out
// of the root, with which the guest may have replaced part of the path.
func (t *tree) watch(dir string) error {
	f, err := t.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	id, err := unix.InotifyAddWatch(t.fd, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), events)
	if err == nil {
		t.dirs[id] = dir
	}
	return err
}

// remove stops watching a directory that was moved away, and those below it.
func (t *tree) remove(dir string) {
	for id, p := range t.dirs {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			unix.InotifyRmWatch(t.fd, uint32(id))
			delete(t.dirs, id)
		}
	}
}

// next waits for changes, and returns the paths when there was none for a moment.
func (t *tree) next() (map[string]bool, error) {
	paths := map[string]bool{}
	var end time.Time
	t.queue.SetReadDeadline(time.Time{})
	for {
		n, err := t.queue.Read(t.buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return paths, nil
		case err != nil:
			return nil, err
		}
		for e := range inotify.Events(t.buf[:n]) {
			t.handle(e, func(p string) {
				if len(paths) < maxChanges {
					paths[p] = true
				}
			})
		}
		if len(paths) == 0 {
			continue
		}
		now := time.Now()
		if end.IsZero() {
			end = now.Add(longest)
		}
		if now.After(end) {
			return paths, nil
		}
		t.queue.SetReadDeadline(earlier(now.Add(quiet), end))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// handle calls changed for what an event changes: a file, or a directory in which a name is gone.
func (t *tree) handle(e inotify.Event, changed func(path string)) {
	dir, known := t.dirs[e.Watch]
	p := path.Join(dir, e.Name)
	isDir := e.Mask&unix.IN_ISDIR != 0
	switch {
	case e.Mask&unix.IN_IGNORED != 0: // the directory is gone
		delete(t.dirs, e.Watch)
	case !known || e.Name == "" || isDir && skipped(p):
	case e.Mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		if isDir {
			t.remove(p)
		}
		changed(dir)
	default:
		changed(p)
		if isDir && e.Mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 {
			t.add(p, changed) // also what was in it before it was watched
		}
	}
}

// discard forgets the changes until now, but goes on watching new directories.
func (t *tree) discard() error {
	for {
		t.queue.SetReadDeadline(time.Now())
		n, err := t.queue.Read(t.buf)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return err
		}
		for e := range inotify.Events(t.buf[:n]) {
			t.handle(e, func(string) {})
		}
	}
}
