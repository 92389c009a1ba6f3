package confine

import "golang.org/x/sys/unix"

// DenyDatagrams takes from this process, and so from the program that it executes, the sockets with
// which it could send messages to the user manager: EXTEND_TIMEOUT_USEC=, for example, puts off a
// stop for ever. The socket of the user manager itself must stay, for the unit's other commands.
func DenyDatagrams() error { return install(noDatagrams()) }

// typeMask leaves out SOCK_CLOEXEC and SOCK_NONBLOCK.
const typeMask = 0xf

// noDatagrams allows only two types of UNIX sockets: SOCK_RAW, too, makes one for datagrams.
func noDatagrams() []unix.SockFilter {
	const jump = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	return append(native(),
		unix.SockFilter{Code: jump, K: unix.SYS_SOCKET, Jt: 1},
		unless(unix.SYS_SOCKETPAIR, 7),
		argument(0),
		unless(unix.AF_UNIX, 5),
		argument(1),
		statement(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, typeMask),
		unix.SockFilter{Code: jump, K: unix.SOCK_STREAM, Jt: 2},
		unix.SockFilter{Code: jump, K: unix.SOCK_SEQPACKET, Jt: 1},
		deny,
		allow)
}
