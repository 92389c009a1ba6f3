package protect

import (
	"cmp"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens a file or directory with O_PATH. The path is absolute; a symbolic link anywhere in
// it is an error.
func Open(p string) (int, error) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	fd, err := openBeneath(root, cmp.Or(strings.TrimPrefix(path.Clean(p), "/"), "."))
	if err != nil {
		return -1, err
	}
	if mode, err := typeOf(fd); err != nil || mode == unix.S_IFLNK {
		unix.Close(fd)
		return -1, cmp.Or(err, error(unix.ELOOP))
	}
	return fd, nil
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
