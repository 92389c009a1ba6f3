package confine

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidIn is the argument of a system call that names a process.
type pidIn struct {
	call     uint32
	argument uint32
}

// Of these, this process may only be the target itself, as a number or as 0. tgkill is how threads
// signal each other: the kernel checks that the thread belongs to the process.
var ofItself = []pidIn{
	{unix.SYS_KILL, 0}, {unix.SYS_TGKILL, 0}, {unix.SYS_RT_SIGQUEUEINFO, 0}, {unix.SYS_RT_TGSIGQUEUEINFO, 0},
	{unix.SYS_PRLIMIT64, 0}, {unix.SYS_SCHED_SETAFFINITY, 0}, {unix.SYS_SCHED_SETSCHEDULER, 0}, {unix.SYS_SCHED_SETPARAM, 0}, {unix.SYS_SCHED_SETATTR, 0},
	{unix.SYS_MIGRATE_PAGES, 0}, {unix.SYS_MOVE_PAGES, 0}, {unix.SYS_GET_ROBUST_LIST, 0},
	{unix.SYS_SETPRIORITY, 1}, {unix.SYS_IOPRIO_SET, 1},
}

// denied are calls of which a part affects other processes, by the value of an argument; without
// values, always.
var denied = []struct {
	call, argument uint32
	values         []uint32
}{
	{call: unix.SYS_TKILL}, {call: unix.SYS_PIDFD_OPEN}, {call: unix.SYS_PIDFD_SEND_SIGNAL}, {call: unix.SYS_PIDFD_GETFD},
	{call: unix.SYS_PTRACE}, {call: unix.SYS_KCMP}, {call: unix.SYS_PROCESS_VM_READV}, {call: unix.SYS_PROCESS_VM_WRITEV},
	{call: unix.SYS_PROCESS_MADVISE}, {call: unix.SYS_PROCESS_MRELEASE},
	// All processes of a user or of a group.
	{call: unix.SYS_SETPRIORITY, argument: 0, values: []uint32{unix.PRIO_PGRP, unix.PRIO_USER}},
	{call: unix.SYS_IOPRIO_SET, argument: 0, values: []uint32{ioprioWhoGroup, ioprioWhoUser}},
	// Who gets which signal when a file is ready.
	{call: unix.SYS_FCNTL, argument: 1, values: []uint32{unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG}},
	{call: unix.SYS_IOCTL, argument: 1, values: []uint32{fioSetOwn, unix.SIOCSPGRP}},
}

// Of ioprio_set(2).
const (
	ioprioWhoGroup = 2
	ioprioWhoUser  = 3
)

const fioSetOwn = 0x8901 // of ioctl(2)

// Offsets in struct seccomp_data.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArgs = 16
)

const errno = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// x32Bit is set in the numbers of the calls of x86-64's second ABI.
const x32Bit = 0x40000000

// OnlyItself makes the kernel deny all system calls of this process that affect other processes, for
// example kill(2), also after execve(2). A user may signal all own processes, from whichever user
// namespace, and a user manager has no PID namespaces for units before systemd 257.
func OnlyItself() error {
	program := onlyItself(uint32(os.Getpid()))
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	switch {
	case err != 0:
		return fmt.Errorf("seccomp: %w", err)
	case thread != 0:
		return fmt.Errorf("seccomp: thread %d has other filters", thread)
	}
	return nil
}

// onlyItself returns the filter for a process, in the kernel's classic BPF.
func onlyItself(pid uint32) []unix.SockFilter {
	statement := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	load := func(offset uint32) unix.SockFilter { return statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }
	// Skip so many instructions unless the loaded value is k.
	unless := func(k uint32, skip int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: uint8(skip), K: k}
	}
	deny, allow := statement(unix.BPF_RET|unix.BPF_K, errno), statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW)
	// The kernel takes the low half of an argument that is an int. It is first on all of our
	// architectures.
	argument := func(n uint32) unix.SockFilter { return load(offsetArgs + 8*n) }

	program := []unix.SockFilter{
		load(offsetArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: auditArch},
		deny,
		load(offsetCall),
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: x32Bit},
		deny,
	}
	for _, d := range denied {
		if d.values == nil {
			program = append(program, unless(d.call, 1), deny)
			continue
		}
		program = append(program, unless(d.call, 2+2*len(d.values)), argument(d.argument))
		for _, value := range d.values {
			program = append(program, unless(value, 1), deny)
		}
		program = append(program, load(offsetCall))
	}
	for _, p := range ofItself {
		program = append(program, unless(p.call, 6), argument(p.argument), unless(0, 1), allow, unless(pid, 1), allow, deny)
	}
	return append(program, allow)
}
