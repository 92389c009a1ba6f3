package confine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestDenyUnnamedFiles: only O_TMPFILE is denied. As with TestDenyDatagrams, the filter stays.
func TestDenyUnnamedFiles(t *testing.T) {
	// A tmpfs has such files on all kernels; the directory of temporary files may have none.
	dir, err := os.MkdirTemp("/dev/shm", "unnamed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags, 0o600) // openat(2)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	old := func(flags uintptr) error {
		name := append([]byte(dir), 0)
		fd, _, err := unix.Syscall(openCall, uintptr(unsafe.Pointer(&name[0])), flags, 0o600)
		if err != 0 {
			return err
		}
		return unix.Close(int(fd))
	}
	if err := open(dir, unix.O_TMPFILE|unix.O_RDWR); err != nil {
		t.Fatalf("before: %v", err)
	}
	if err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), DenyUnnamedFiles()); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []int{unix.O_TMPFILE | unix.O_RDWR, unix.O_TMPFILE | unix.O_WRONLY | unix.O_EXCL | unix.O_CLOEXEC} {
		if err := open(dir, flags); err != unix.EPERM {
			t.Errorf("openat with flags %#x: %v", flags, err)
		}
	}
	if err := errors.Join(open(dir, unix.O_DIRECTORY), open(filepath.Join(dir, "file"), unix.O_CREAT|unix.O_RDWR), open(dir, unix.O_PATH)); err != nil {
		t.Error(err)
	}
	if openCall == x32Bit { // there is none
		return
	}
	if err := old(unix.O_TMPFILE | unix.O_RDWR); err != unix.EPERM {
		t.Errorf("open: %v", err)
	}
	if err := old(unix.O_DIRECTORY); err != nil {
		t.Error(err)
	}
}
