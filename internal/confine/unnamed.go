package confine

import "golang.org/x/sys/unix"

// DenyUnnamedFiles takes O_TMPFILE from this process, and so from the program that it executes.
// RestrictSUIDSGID= of systemd 257 does not look at it: such a file can be created with a set-user-ID bit, and
// then gets a name with link(2).
func DenyUnnamedFiles() error { return install(noUnnamedFiles()) }

// temporary is the bit of O_TMPFILE that O_DIRECTORY does not have, on all of our architectures.
const temporary = unix.O_TMPFILE &^ unix.O_DIRECTORY

// openat2(2) is denied by RestrictSUIDSGID=, and io_uring by SystemCallFilter=.
func noUnnamedFiles() []unix.SockFilter {
	const jump, set = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	return append(native(),
		unix.SockFilter{Code: jump, K: openCall, Jt: 3},
		unless(unix.SYS_OPENAT, 5),
		argument(2), // the flags
		unix.SockFilter{Code: set, K: temporary, Jt: 2, Jf: 3},
		argument(1), // of open(2)
		unix.SockFilter{Code: set, K: temporary, Jf: 1},
		deny,
		allow)
}
