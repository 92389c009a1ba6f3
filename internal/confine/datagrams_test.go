package confine

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDenyDatagrams: only UNIX datagram sockets are denied. The thread ends with the test.
func TestDenyDatagrams(t *testing.T) {
	done := make(chan error)
	go func() {
		done <- func() error {
			if err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), DenyDatagrams()); err != nil {
				return err
			}
			for _, s := range []struct {
				family, kind int
				want         error
			}{
				{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, nil},
				{unix.AF_INET, unix.SOCK_DGRAM, nil},
				{unix.AF_UNIX, unix.SOCK_DGRAM, unix.EPERM},
				{unix.AF_UNIX, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC, unix.EPERM},
			} {
				if _, err := unix.Socket(s.family, s.kind, 0); err != s.want {
					t.Errorf("socket(%d, %d): %v, want %v", s.family, s.kind, err, s.want)
				}
				if _, err := unix.Socketpair(s.family, s.kind, 0); s.family == unix.AF_UNIX && err != s.want {
					t.Errorf("socketpair(%d, %d): %v, want %v", s.family, s.kind, err, s.want)
				}
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
