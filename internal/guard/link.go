package guard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A program that obeys a file also obeys what a link in its place refers to, which a guest can change
// without changing the link. So this is looked at, too, but only within the directory that is searched: a
// guest cannot change the rest, and could make links to anything there.

// openLinked opens what a link refers to; nil if that is not in the directory that is searched.
func (w *walker) openLinked(path string) *os.File {
	if w.root == nil {
		return nil
	}
	base := strings.TrimSuffix(w.root.Name(), "/") + "/"
	// os.Root does not follow absolute links.
	if target, err := os.Readlink(path); err == nil && filepath.IsAbs(target) {
		path = filepath.Clean(target)
	}
	name, found := strings.CutPrefix(path, base)
	if !found {
		return nil
	}
	f, err := w.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return f
}

// linkedState returns the state of the regular file to which a link refers; empty for others.
func (w *walker) linkedState(path string) string {
	f := w.openLinked(path)
	if f == nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	state, err := stateOf(f)
	if err != nil {
		return " to unreadable"
	}
	return " to " + state
}

// linked searches the directory to which a link refers that is in place of a directory of which a rule
// selects all files. Links in it are not followed.
func (w *walker) linked(name, path string, depth int, in place, r *rule) error {
	switch {
	case r == inTree.directories[name]:
	case name == "hooks" && r == inGit.files[name]:
		r = inGit.directories[name]
	default:
		return nil
	}
	f := w.openLinked(path)
	if f == nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		return nil
	}
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil || strings.HasPrefix(path, real+"/") { // it contains the link
		return nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	in.rule, in.unit = r, path
	return w.directory(fd, path, depth+1, in)
}
