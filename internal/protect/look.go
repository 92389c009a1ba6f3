package protect

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Wish is a path that the guest must not change or read.
type Wish struct {
	Path string // absolute and clean; may not exist
	Mode Mode
}

// Limits of Look. The guest can create what is looked at, and there is one mount for each
// directory of a path.
const (
	maxLinks      = 40  // symbolic links on a path, as in the kernel
	maxComponents = 256 // of a path, including the targets of links
	maxMounts     = 2000
)

// Found is what Look returns.
type Found struct {
	// Mounts has the mounts for each root, parents first.
	Mounts [][]Mount
	// Warnings describe what cannot be protected.
	Warnings []string
}

// Root is a shared directory or file.
type Root struct {
	Path string // absolute, without symbolic links
	// FD is a descriptor of Open. What is at Path now may be something else.
	FD int
}

// Look returns the mounts that the wishes take in the shared directories. Where Look cannot follow a path, it protects the place where
// the path stops: a file in place of a directory, a directory that cannot be searched, and
// every symbolic link. What is outside of the roots needs no mount. Errors name a path.
func Look(roots []Root, wishes []Wish) (Found, error) {
	l := look{roots: roots, found: make([]map[string]Mount, len(roots))}
	for i := range l.found {
		l.found[i] = map[string]Mount{}
	}
	for _, w := range wishes {
		if err := l.add(w); err != nil {
			return Found{}, fmt.Errorf("%s: %w", w.Path, err)
		}
	}
	found := Found{Warnings: l.warnings}
	for _, mounts := range l.found {
		addParents(mounts)
		if len(mounts) > maxMounts {
			return Found{}, fmt.Errorf("%s and others: more than %d paths", wishes[0].Path, maxMounts)
		}
		found.Mounts = append(found.Mounts, sorted(mounts))
	}
	return found, nil
}

// look is the state of Look.
type look struct {
	roots    []Root
	found    []map[string]Mount // for each root, by path
	warnings []string
}

// place is an open directory on the way to a path.
type place struct {
	path string // absolute, without symbolic links
	fd   int
}

// add finds the mounts for one wish. It resolves symbolic links itself, because each of them
// has to be protected, too.
func (l *look) add(w Wish) error {
	// Start in the shared directory, not at /: the path to it may have changed.
	start := "/"
	if i := l.rootOf(w.Path, w.Mode); i >= 0 {
		start = l.roots[i].Path
	}
	stack, err := l.push(nil, start)
	if err != nil {
		return err
	}
	defer func() { closeAll(stack) }()
	rest, links := words(strings.TrimPrefix(w.Path, start)), []string{}
	for steps := 0; len(rest) > 0; steps++ {
		if steps > maxComponents {
			return errors.New("too many directories or symbolic links on the path")
		}
		at := stack[len(stack)-1]
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			if stack, err = l.pop(stack); err != nil {
				return err
			}
			continue
		}
		next := path.Join(at.path, name)
		fd, st, err := openIn(at.fd, name)
		switch err {
		case nil:
		case unix.EACCES, unix.EPERM: // the directory cannot be searched
			return l.mount(at.path, w.Mode, unix.Stat_t{Mode: unix.S_IFDIR})
		case unix.ENOENT, unix.ENAMETOOLONG:
			return nil
		default:
			return err
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			if slices.ContainsFunc(l.roots, func(r Root) bool { return r.Path == next }) {
				unix.Close(fd)
				if stack, err = l.push(stack, next); err != nil {
					return err
				}
				continue
			}
			stack = append(stack, place{next, fd})
		case unix.S_IFLNK:
			target, err := l.link(fd, next, w.Mode, st)
			if err != nil {
				return err
			}
			if links = append(links, next); len(links) > maxLinks {
				return nil
			}
			if path.IsAbs(target) {
				closeAll(stack)
				if stack, err = l.push(nil, "/"); err != nil {
					return err
				}
			}
			rest = append(words(target), rest...)
		default:
			unix.Close(fd)
			if w.Mode == Hidden && len(rest) > 0 {
				return nil // below a file there is nothing to hide
			}
			return l.mount(next, w.Mode, st)
		}
	}
	return l.mountEnd(stack[len(stack)-1].path, w.Mode, links)
}

// link finds the mount for a symbolic link, closes it, and returns its target.
func (l *look) link(fd int, path string, mode Mode, st unix.Stat_t) (target string, err error) {
	defer unix.Close(fd)
	if target, err = readLink(fd); err != nil {
		return "", err
	}
	return target, l.mount(path, mode, st)
}

// pop closes the last directory of the stack, and opens its parent if no other is left.
func (l *look) pop(stack []place) ([]place, error) {
	at := stack[len(stack)-1]
	unix.Close(at.fd)
	if stack = stack[:len(stack)-1]; len(stack) > 0 {
		return stack, nil
	}
	return l.push(nil, path.Dir(at.path))
}

// openIn opens a name in a directory, without following it if it is a link.
func openIn(dir int, name string) (fd int, st unix.Stat_t, err error) {
	if fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return -1, st, err
	}
	if err = unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// mountEnd finds the mount for the directory at which a path ends. links are those on the path.
func (l *look) mountEnd(end string, mode Mode, links []string) error {
	for _, link := range links {
		if contains(end, link) {
			l.warnings = append(l.warnings, fmt.Sprintf("%q is a symbolic link to a directory that contains it: only the link is protected", link))
			return nil
		}
	}
	return l.mount(end, mode, unix.Stat_t{Mode: unix.S_IFDIR})
}

// push opens a directory by its path and appends it to the stack, which is nil after an error.
func (l *look) push(stack []place, dir string) ([]place, error) {
	fd, err := -1, error(nil)
	if i := slices.IndexFunc(l.roots, func(r Root) bool { return r.Path == dir }); i >= 0 {
		fd, err = unix.FcntlInt(uintptr(l.roots[i].FD), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		fd, err = Open(dir)
	}
	if err != nil {
		closeAll(stack)
		return nil, err
	}
	return append(stack, place{dir, fd}), nil
}

// rootOf returns the index of the innermost root that contains a path; -1 if there is none. What
// is hidden is in an outer root.
func (l *look) rootOf(p string, mode Mode) int {
	found := -1
	for i, r := range l.roots {
		if contains(r.Path, p) && (mode != Hidden || r.Path != p) && (found < 0 || len(r.Path) > len(l.roots[found].Path)) {
			found = i
		}
	}
	return found
}

func closeAll(stack []place) {
	for _, p := range stack {
		unix.Close(p.fd)
	}
}

// words returns the components of a path that matter.
func words(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(word string) bool { return word == "" || word == "." })
}

// mount adds a mount for an absolute path, or makes an earlier one stricter. It does nothing if
// the path is in no root.
func (l *look) mount(p string, mode Mode, st unix.Stat_t) error {
	root := l.rootOf(p, mode)
	switch {
	case contains("/proc", p):
		return errors.New("a symbolic link leads to /proc, where each program sees something else")
	case root < 0:
		return nil
	case !utf8.ValidString(p):
		return fmt.Errorf("it leads to %q, which is not valid UTF-8", p)
	}
	relative := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(p, l.roots[root].Path), "/"), ".")
	fileType := st.Mode & unix.S_IFMT
	if m, ok := l.found[root][relative]; ok && !mode.stricter(m.Mode) {
		return nil
	}
	if fileType == unix.S_IFREG && st.Nlink > 1 {
		l.warnings = append(l.warnings, fmt.Sprintf("%q has %d names (hard links): the guest can use it through another one", p, st.Nlink))
	}
	l.found[root][relative] = Mount{Path: relative, Mode: mode, Type: fileType}
	return nil
}

// contains reports whether path is dir or below it.
func contains(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// addParents makes mount points of the directories that contain a protected path.
func addParents(found map[string]Mount) {
	for _, p := range slices.Collect(maps.Keys(found)) {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if _, ok := found[dir]; !ok {
				found[dir] = Mount{Path: dir, Mode: ReadWrite, Type: unix.S_IFDIR}
			}
		}
	}
}

// sorted returns the mounts in order, without those that another one makes superfluous.
func sorted(found map[string]Mount) []Mount {
	all := slices.Collect(maps.Values(found))
	slices.SortFunc(all, func(a, b Mount) int { return strings.Compare(sortKey(a.Path), sortKey(b.Path)) })
	return slices.DeleteFunc(all, func(m Mount) bool {
		for dir := m.Path; dir != "."; {
			dir = path.Dir(dir)
			if outer, ok := found[dir]; ok && (outer.Mode == Hidden || outer.Mode == ReadOnly && m.Mode != Hidden) {
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
