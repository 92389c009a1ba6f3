package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMain runs the attacks of TestOnlyItself in a process of their own.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "attack" {
		pid, _ := strconv.Atoi(os.Args[2])
		if os.Getenv("ONLY_ITSELF") != "" {
			if err := OnlyItself(); err != nil {
				fmt.Println(err)
			}
			if os.Getenv("ONLY_ITSELF") == "exec" {
				os.Unsetenv("ONLY_ITSELF")
				syscall.Exec("/proc/self/exe", os.Args, os.Environ())
			}
		}
		attack(pid)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const noUser = 4242424242

// attack tries each way to affect the process pid and prints those that are not denied.
func attack(pid int) {
	victim := uintptr(pid)
	var limit unix.Rlimit
	var buffer [64]byte
	address := uintptr(unsafe.Pointer(&buffer))
	pipe, _, _ := os.Pipe()
	call := func(name string, trap uintptr, args ...uintptr) {
		args = append(args, 0, 0, 0, 0, 0, 0)
		if _, _, err := unix.RawSyscall6(trap, args[0], args[1], args[2], args[3], args[4], args[5]); !errors.Is(err, unix.EPERM) {
			fmt.Println(name, "of another process:", err)
		}
	}
	call("kill", unix.SYS_KILL, victim, 0)
	call("kill of the group", unix.SYS_KILL, -victim, 0)
	call("kill of all", unix.SYS_KILL, ^uintptr(0), 0)
	call("kill with a high half", unix.SYS_KILL, victim|1<<40, 0)
	call("tkill", unix.SYS_TKILL, victim, 0)
	call("tgkill", unix.SYS_TGKILL, victim, victim, 0)
	call("rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO, victim, 0, address)
	call("rt_tgsigqueueinfo", unix.SYS_RT_TGSIGQUEUEINFO, victim, victim, 0, address)
	call("pidfd_open", unix.SYS_PIDFD_OPEN, victim, 0)
	call("prlimit", unix.SYS_PRLIMIT64, victim, unix.RLIMIT_CORE, 0, uintptr(unsafe.Pointer(&limit)))
	call("setpriority", unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, victim, 19)
	call("setpriority of the user", unix.SYS_SETPRIORITY, unix.PRIO_USER, noUser, 0)
	call("ioprio_set", unix.SYS_IOPRIO_SET, 1, victim, 3<<13)
	call("ioprio_set of the user", unix.SYS_IOPRIO_SET, ioprioWhoUser, noUser, 3<<13)
	call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, victim, 8, address)
	call("sched_setscheduler", unix.SYS_SCHED_SETSCHEDULER, victim, 5, address) // SCHED_IDLE
	call("ptrace", unix.SYS_PTRACE, unix.PTRACE_SEIZE, victim)
	call("process_vm_readv", unix.SYS_PROCESS_VM_READV, victim, address, 0, address, 0)
	call("fcntl F_SETOWN", unix.SYS_FCNTL, pipe.Fd(), unix.F_SETOWN, victim)
	call("fcntl F_SETSIG", unix.SYS_FCNTL, pipe.Fd(), unix.F_SETSIG, uintptr(unix.SIGKILL))
	call("ioctl FIOSETOWN", unix.SYS_IOCTL, pipe.Fd(), fioSetOwn, address)
	if runtime.GOARCH == "amd64" {
		call("x32 kill", unix.SYS_KILL|x32Bit, victim, 0)
	}
	// What QEMU and Go do to themselves still works.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGUSR1)
	if err := unix.Tgkill(os.Getpid(), os.Getpid(), unix.SIGUSR1); err != nil {
		fmt.Println("tgkill of itself:", err)
	}
	<-caught
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &limit); err != nil {
		fmt.Println("prlimit of itself:", err)
	}
}

// TestOnlyItself runs the attacks without the filter, to see that they work, with it, and in a
// program that the filtered process executes.
func TestOnlyItself(t *testing.T) {
	victim := exec.Command("sleep", "infinity")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer victim.Wait()
	defer victim.Process.Kill()
	run := func(mode string) string {
		cmd := exec.Command("/proc/self/exe", "attack", strconv.Itoa(victim.Process.Pid))
		cmd.Env = append(os.Environ(), "ONLY_ITSELF="+mode)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v", mode, err)
		}
		return string(out)
	}
	if got := run(""); got == "" {
		t.Error("without a filter, no attack works")
	} else {
		t.Logf("without a filter:\n%s", got)
	}
	for _, mode := range []string{"self", "exec"} {
		if got := run(mode); got != "" {
			t.Errorf("%s:\n%s", mode, got)
		}
	}
}
