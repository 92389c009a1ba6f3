// Package protect keeps the guest from changing or reading paths of a shared directory. Look
// finds out which mounts that takes, from what is at the paths; Apply makes the mounts, in
// the mount namespace of virtiofsd.
package protect

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mode is what the guest may do with a path.
type Mode string

// The modes, from the least to the most strict.
const (
	// ReadWrite restricts nothing, but makes a mount point of the path. A mount point cannot
	// be renamed or removed, so nothing else can take the place of what is in it.
	ReadWrite Mode = "read-write"
	ReadOnly  Mode = "read-only"
	Hidden    Mode = "hidden" // an empty file or directory without permissions is shown
)

var modes = []Mode{ReadWrite, ReadOnly, Hidden}

// stricter reports whether m permits less than other.
func (m Mode) stricter(other Mode) bool { return slices.Index(modes, m) > slices.Index(modes, other) }

// Mount is a path in a shared directory on which something has to be mounted.
type Mount struct {
	Path string `json:"path"` // relative and clean, without symbolic links in its directories
	Mode Mode   `json:"mode"`
	// Type is the file type that Look has seen, one of the S_IF constants of inode(7).
	Type uint32 `json:"type"`
}

// Wish is a path that the guest must not change or read.
type Wish struct {
	Path string // relative and clean; may not exist
	Mode Mode
}

// maxLinks is the number of symbolic links after which Look gives up, as the kernel does.
const maxLinks = 40

// Look returns the mounts that the wishes take, parents first. Where it cannot follow a path,
// it protects the place where the path stops: a file in place of a directory, a directory
// that cannot be searched, and every symbolic link. Paths that do not exist and what links
// point to outside of dir need no mount. Paths in the error are below dir.
func Look(dir string, wishes []Wish) ([]Mount, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	l := look{dir: dir, root: root, found: map[string]Mount{}}
	for _, w := range wishes {
		if err := l.add(w); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(dir, w.Path), err)
		}
	}
	l.addParents()
	return l.mounts(), nil
}

// look is the state of Look.
type look struct {
	dir   string
	root  int // O_PATH descriptor of dir
	found map[string]Mount
}

// add finds the mounts for one wish. It resolves symbolic links itself, because it has to
// protect each of them, and because they must not lead out of the directory.
func (l *look) add(w Wish) error {
	at, rest := ".", strings.Split(w.Path, "/")
	for links := 0; len(rest) > 0; {
		var name string
		name, rest = rest[0], rest[1:]
		if name == ".." && at == "." {
			return nil // outside
		}
		next := path.Join(at, name)
		fd, err := openBeneath(l.root, next)
		switch err {
		case nil:
		case unix.EACCES, unix.EPERM: // the directory cannot be searched
			if at == "." {
				return err
			}
			l.mount(at, w.Mode, unix.S_IFDIR)
			return nil
		case unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG:
			return nil
		default:
			return err
		}
		mode, err := typeOf(fd)
		target := ""
		if err == nil && mode == unix.S_IFLNK {
			target, err = readLink(fd)
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
		switch {
		case mode == unix.S_IFLNK:
			l.mount(next, w.Mode, mode)
			links++
			if at, rest = l.follow(at, target, rest); links > maxLinks || rest == nil {
				return nil
			}
		case mode == unix.S_IFDIR && len(rest) > 0:
			at = next
		case w.Mode != Hidden || len(rest) == 0:
			l.mount(next, w.Mode, mode)
			return nil
		default:
			return nil // below a file there is nothing to hide
		}
	}
	return nil
}

// follow returns where the path goes on after a symbolic link in the directory at; rest is
// nil if that is outside.
func (l *look) follow(at, target string, rest []string) (string, []string) {
	if path.IsAbs(target) {
		at = "."
		inside, found := strings.CutPrefix(path.Clean(target)+"/", strings.TrimSuffix(l.dir, "/")+"/")
		if !found {
			return "", nil
		}
		target = inside
	}
	words := slices.DeleteFunc(strings.Split(target, "/"), func(word string) bool { return word == "" || word == "." })
	return at, append(words, rest...)
}

// mount adds a mount, or makes an earlier one for the same path stricter.
func (l *look) mount(p string, mode Mode, fileType uint32) {
	if m, ok := l.found[p]; ok && !mode.stricter(m.Mode) {
		return
	}
	l.found[p] = Mount{Path: p, Mode: mode, Type: fileType}
}

// addParents makes mount points of the directories that contain a protected path.
func (l *look) addParents() {
	for _, p := range slices.Collect(maps.Keys(l.found)) {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if _, ok := l.found[dir]; !ok {
				l.found[dir] = Mount{Path: dir, Mode: ReadWrite, Type: unix.S_IFDIR}
			}
		}
	}
}

// mounts returns the mounts in order, without those that another one makes superfluous.
func (l *look) mounts() []Mount {
	all := slices.Collect(maps.Values(l.found))
	slices.SortFunc(all, func(a, b Mount) int { return strings.Compare(sortKey(a.Path), sortKey(b.Path)) })
	return slices.DeleteFunc(all, func(m Mount) bool {
		for dir := m.Path; dir != "."; {
			dir = path.Dir(dir)
			if outer, ok := l.found[dir]; ok && (outer.Mode == Hidden || outer.Mode == ReadOnly && m.Mode != Hidden) {
				return true
			}
		}
		return false
	})
}

// sortKey orders parents before what is in them, and "." first.
func sortKey(p string) string {
	if p == "." {
		return ""
	}
	return p
}

// openBeneath opens a path with O_PATH. The path is clean and contains no symbolic links, except
// that it may be one itself. It does not use openat2(2), which fails in a unit with
// RestrictSUIDSGID=.
func openBeneath(root int, p string) (int, error) {
	at := root
	for name := range strings.SplitSeq(p, "/") {
		fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if at != root {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
	}
	return at, nil
}

// typeOf returns the file type of an open file.
func typeOf(fd int) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Mode & unix.S_IFMT, err
}

// readLink returns the target of a symbolic link that is open with O_PATH.
func readLink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
}
