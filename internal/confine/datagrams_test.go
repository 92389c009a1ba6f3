package confine

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDenyDatagrams: only UNIX datagram sockets are denied. The filter stays in this process, whose other
// tests need none.
func TestDenyDatagrams(t *testing.T) {
	if err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), DenyDatagrams()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		family, kind int
		want         error
	}{
		{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, nil},
		{unix.AF_UNIX, unix.SOCK_SEQPACKET, nil},
		{unix.AF_INET, unix.SOCK_DGRAM, nil},
		{unix.AF_UNIX, unix.SOCK_DGRAM, unix.EPERM},
		{unix.AF_UNIX, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC, unix.EPERM},
		{unix.AF_UNIX, unix.SOCK_RAW, unix.EPERM},
	} {
		if fd, err := unix.Socket(s.family, s.kind, 0); err != s.want {
			t.Errorf("socket(%d, %d): %v, want %v", s.family, s.kind, err, s.want)
		} else if err == nil {
			unix.Close(fd)
		}
		if s.family != unix.AF_UNIX {
			continue
		}
		if pair, err := unix.Socketpair(s.family, s.kind, 0); err != s.want {
			t.Errorf("socketpair(%d, %d): %v, want %v", s.family, s.kind, err, s.want)
		} else if err == nil {
			unix.Close(pair[0])
			unix.Close(pair[1])
		}
	}
}
