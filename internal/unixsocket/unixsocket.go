// Package unixsocket opens UNIX sockets and lock files in directories that QEMU can write. It follows no
// symbolic link in them, which could lead to a file or socket of the user's.
//
// The address of a UNIX socket is limited to 107 bytes, and a directory can have a longer path. So
// sockets are opened first and addressed by their descriptor.
package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dial connects to the socket name in a directory.
func Dial(ctx context.Context, dir, name string) (net.Conn, error) {
	f, err := openIn(dir, name, unix.O_PATH, unix.S_IFSOCK, unix.ECONNREFUSED) // as connect(2)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// OpenLock opens the file name in a directory, which is created if it does not exist.
func OpenLock(dir, name string) (*os.File, error) {
	return openIn(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK, unix.S_IFREG, errors.New("not a regular file"))
}

// openIn opens a file in a directory. Unless it is of the type kind, the error is other.
func openIn(dir, name string, flags int, kind uint32, other error) (*os.File, error) {
	path := filepath.Join(dir, name)
	d, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(d)
	fd, err := unix.Openat(d, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != kind {
		err = other
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}
