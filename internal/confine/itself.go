package confine

import (
	"os"

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

// OnlyItself makes the kernel deny all system calls of this process that affect other processes, for
// example kill(2), also after execve(2). A user may signal all own processes, from whichever user
// namespace, and a user manager has no PID namespaces for units before systemd 257.
func OnlyItself() error {
	return install(onlyItself(uint32(os.Getpid())))
}

// onlyItself returns the filter for a process.
func onlyItself(pid uint32) []unix.SockFilter {
	program := native()
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
