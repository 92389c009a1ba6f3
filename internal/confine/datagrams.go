package confine

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DenyDatagrams takes from this thread, and so from the program that it executes, the sockets with
// which it could send messages to the user manager: EXTEND_TIMEOUT_USEC=, for example, puts off a
// stop for ever. The socket of the user manager itself must stay, for the unit's other commands.
//
// SystemCallFilter= cannot do this, because it does not look at arguments.
func DenyDatagrams() error {
	runtime.LockOSThread()
	const typeMask = 0xf // without SOCK_CLOEXEC and SOCK_NONBLOCK
	number, first, second := uint32(0), uint32(16), uint32(24)
	filter := []unix.SockFilter{
		load(number),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKETPAIR, Jf: 5},
		load(first),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_UNIX, Jf: 3},
		load(second),
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: typeMask},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SOCK_DGRAM, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	return os.NewSyscallError("prctl(PR_SET_SECCOMP)", err)
}

// load loads the lower half of a field of struct seccomp_data, on machines that are little-endian.
func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}
