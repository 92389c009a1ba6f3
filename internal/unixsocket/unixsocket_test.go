package unixsocket

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlanted checks that what QEMU can put in the place of a socket or lock has no effect.
func TestPlanted(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(outside)
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	plant := func(name string) {
		t.Helper()
		os.Remove(filepath.Join(dir, "x"))
		if err := os.Symlink(filepath.Join(outside, name), filepath.Join(dir, "x")); err != nil {
			t.Fatal(err)
		}
	}
	plant("socket")
	if _, err := Dial(context.Background(), dir, "x"); err == nil {
		t.Error("connected through a link")
	}
	if c, err := Dial(context.Background(), outside, "socket"); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	plant("new")
	if _, err := OpenLock(dir, "x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("lock through a link: %v", err)
	}
	if _, err := os.Stat("new"); err == nil {
		t.Error("a file was created through a link")
	}
	os.Remove(filepath.Join(dir, "x"))
	if err := unix.Mkfifo(filepath.Join(dir, "x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLock(dir, "x"); err == nil {
		t.Error("a pipe is a lock")
	}
	if _, err := Dial(context.Background(), dir, "x"); err == nil {
		t.Error("connected to a pipe")
	}
	if f, err := OpenLock(dir, "lock"); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	if _, err := Dial(context.Background(), dir, "missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a socket that does not exist: %v", err)
	}
}
