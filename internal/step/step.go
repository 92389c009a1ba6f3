// Package step implements the commands that the units of an instance run, as
// "claude-vm-ctl unit STEP". Settings come from the units' environment.
package step

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"golang.org/x/sys/unix"
)

// steps are the values of STEP.
var steps = map[string]struct {
	args int // number of arguments; -1 for any number
	run  func(context.Context, []string) (int, error)
}{
	"setup":      {1, setup},
	"teardown":   {1, teardown},
	"share":      {-1, share},
	"end-share":  {0, endShare},
	"share-lost": {1, shareLost},
	"begin":      {1, begin},
	"ssh-agent":  {1, sshAgent},
	"power-off":  {0, powerOff},
	"result":     {0, result},
}

// Run runs a step and returns its exit status. If it fails, the error becomes the unit's
// status text.
func Run(ctx context.Context, name string, args []string) (int, error) {
	step, ok := steps[name]
	if !ok || step.args >= 0 && len(args) != step.args {
		return 0, failure.New(failure.Usage, "", "unknown step %s, or wrong number of arguments: %d", name, len(args))
	}
	status, err := step.run(ctx, args)
	if err != nil {
		notify("STATUS=" + failure.OneLine(err.Error()))
	}
	return status, err
}

// notify sends a line to the user manager, as sd_notify(3). It does nothing if the step was
// not started by systemd.
func notify(line string) {
	if _, err := daemon.SdNotify(false, line); err != nil {
		fmt.Fprintf(os.Stderr, "notify the user manager: %q: %v\n", line, err)
	}
}

// share listens on the socket args[2], notifies systemd that it is ready, and executes
// args[3], virtiofsd, with the socket as file descriptor 3. The work directory of the
// instance on args[0] is mounted at args[1]; it must be the one that setup has checked.
func share(_ context.Context, args []string) (int, error) {
	if len(args) < 4 {
		return 0, failure.New(failure.Usage, "", "share needs a directory, its mount point, a socket and a command")
	}
	if err := checkIdentity(args[0], args[1]); err != nil {
		return 0, err
	}
	socket, command := args[2], args[3:]
	path, err := preflight.FindVirtiofsd(command[0])
	if err != nil {
		return 0, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return 0, err
	}
	file, err := listener.File()
	if err != nil {
		return 0, err
	}
	// execve(2) closes file, but not a duplicate, which has no FD_CLOEXEC. (If file had the
	// number 3 itself, dup2 would leave FD_CLOEXEC set; but 3 is the listener.)
	if err := unix.Dup2(int(file.Fd()), 3); err != nil {
		return 0, err
	}
	// virtiofsd inherits the lock; see shareLives.
	lock, err := unix.Open(contract.ShareLock, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err == nil {
		err = unix.Flock(lock, unix.LOCK_SH|unix.LOCK_NB)
	}
	if err != nil {
		return 0, fmt.Errorf("lock %s: %w", contract.ShareLock, err)
	}
	notify("READY=1")
	return 0, syscall.Exec(path, append([]string{"virtiofsd"}, command[1:]...), os.Environ())
}

// checkIdentity returns an error if the directory that is mounted at mountPoint is not the
// work directory dir that setup has checked. The guest of another VM, which shares a parent
// directory, could have replaced it since then.
func checkIdentity(dir, mountPoint string) error {
	record, err := readRecord(dir)
	if err != nil {
		return err
	}
	device, inode, err := identity(mountPoint)
	if err == nil && (device != record.Device || inode != record.Inode) {
		err = fmt.Errorf("%s was replaced by another directory while the VM started", dir)
	}
	return err
}

// readRecord returns the record of the instance on dir, which setup has written.
func readRecord(dir string) (instance.Record, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return instance.Record{}, err
	}
	return paths.ReadRecord(instance.Escape(dir))
}

// explainResult returns a message for $SERVICE_RESULT, see systemd.exec(5). It is empty if
// another step of the unit has failed, because that step has already set the status text.
func explainResult(result string, status contract.Status) string {
	switch result {
	case "signal", "core-dump":
		return "QEMU was killed by SIG" + os.Getenv("EXIT_STATUS")
	case "oom-kill":
		return explainOOM(cgroupRoot, ownCgroup())
	case "timeout":
		if status.Ready {
			return "the guest did not shut down in time and was killed"
		}
		return "the guest did not start in time"
	case "exit-code":
		if os.Getenv("EXIT_CODE") == "exited" && os.Getenv("EXIT_STATUS") != "0" {
			return "QEMU exited with status " + os.Getenv("EXIT_STATUS")
		}
	}
	return ""
}

// result returns an exit status that sets the unit's result to what the guest has reported.
// If the unit has already failed, it only sets the status text.
func result(context.Context, []string) (int, error) {
	status := guest.ReadStatus(".")
	if result := os.Getenv("SERVICE_RESULT"); result != "success" {
		if text := explainResult(result, status); text != "" {
			notify("STATUS=" + text)
		}
		return 0, nil
	}
	_, shareErr := os.Stat(contract.ShareDiedFile)
	switch {
	case status.Exit != nil && *status.Exit != 0:
		notify(fmt.Sprintf("STATUS=Claude Code exited with status %d", *status.Exit))
		return *status.Exit, nil
	case status.Exit != nil:
		notify("STATUS=Claude Code exited")
		return 0, nil
	case shareErr == nil:
		return 0, errors.New("virtiofsd, which shares the directory, died")
	// If the guest was not ready yet, systemd has stopped the VM during its start: after
	// a failed start, $SERVICE_RESULT would not be success.
	case status.Stopping, !status.Ready:
		notify("STATUS=Shut down")
		return 0, nil
	}
	return 0, errors.New("the guest stopped unexpectedly: its kernel crashed, or QEMU was asked to quit")
}
