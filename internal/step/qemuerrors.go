package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// Limits of QEMU's messages in the journal. Root in the guest can make QEMU print thousands per second,
// with drivers of its own.
const errorRate, errorBurst = 1, 200 // lines per second

// boundErrors makes the standard error of this process, and of what it executes, go through another
// process of the unit, which limits it. The journal thus still has the lines as those of the unit.
func boundErrors() error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	defer out.Close()
	cmd := exec.Command("/proc/self/exe", "unit", "qemu-errors")
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	cmd.Env = []string{"GOMAXPROCS=1"}
	if err := startBlocked(cmd); err != nil {
		return err
	}
	return os.NewSyscallError("dup3", unix.Dup3(int(out.Fd()), 2, 0))
}

// startBlocked starts a process in which SIGTERM waits until the program catches it: systemd sends it to all
// processes of a unit when QEMU exits, which may be at once. Other threads of this process still receive it.
func startBlocked(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.Sigset_t
	blocked := unix.Sigset_t{Val: [len(before.Val)]uint64{1 << (unix.SIGTERM - 1)}}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, &before); err != nil {
		return os.NewSyscallError("pthread_sigmask", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return cmd.Start()
}

// qemuErrors copies what QEMU prints from standard input to standard error, until QEMU has exited, also
// after SIGTERM, which systemd sends to all processes of the unit and the program catches.
func qemuErrors(context.Context, []string) (int, error) {
	c := &consoleLog{
		of:    "QEMU",
		lines: rate.NewLimiter(errorRate, errorBurst), bytes: rate.NewLimiter(byteRate, byteBurst),
		send: func(line string) error {
			_, err := fmt.Fprintln(os.Stderr, line)
			return err
		},
	}
	err := c.copy(os.Stdin)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return 0, err
}
