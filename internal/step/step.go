// Package step is what the units of an instance call, as "claude-vm-ctl unit STEP":
// one function a step. systemd passes them the rest in the environment.
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
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"golang.org/x/sys/unix"
)

// steps are the commands of the units, by name.
var steps = map[string]struct {
	args int // how many; -1 for any number
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

// Run runs a step and returns its exit status. The reason of a failure becomes the
// unit's status.
func Run(ctx context.Context, name string, args []string) (int, error) {
	step, ok := steps[name]
	if !ok || step.args >= 0 && len(args) != step.args {
		return 0, failure.New(failure.Usage, "", "no such step with %d arguments: %s", len(args), name)
	}
	status, err := step.run(ctx, args)
	if err != nil {
		notify("STATUS=" + failure.OneLine(err.Error()))
	}
	return status, err
}

// notify tells the user manager; without one, as in a trial by hand, nobody.
func notify(line string) {
	if _, err := daemon.SdNotify(false, line); err != nil {
		fmt.Fprintf(os.Stderr, "tell the user manager %q: %v\n", line, err)
	}
}

// share listens on the socket args[2], reports that it is ready, and executes args[3],
// virtiofsd, with the socket as descriptor 3. args[1] must be the work directory that
// setup has seen for the instance on args[0].
func share(_ context.Context, args []string) (int, error) {
	if len(args) < 4 {
		return 0, failure.New(failure.Usage, "", "share needs a directory, its place, a socket and a command")
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
	// The duplicate stays open over execve(2). file is not descriptor 3: listener is.
	if err := unix.Dup2(int(file.Fd()), 3); err != nil {
		return 0, err
	}
	// virtiofsd holds the lock from now on: see shareDied.
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

// checkIdentity fails if another directory than the one that setup has checked is bound
// at place: a VM on a directory above it could have replaced it meanwhile.
func checkIdentity(dir, place string) error {
	paths, err := instance.HostPaths()
	if err != nil {
		return err
	}
	record, err := paths.ReadRecord(instance.Escape(dir))
	if err != nil {
		return err
	}
	device, inode, err := identity(place)
	if err == nil && (device != record.Device || inode != record.Inode) {
		err = fmt.Errorf("%s was replaced by another directory while the VM started", dir)
	}
	return err
}

// explainResult says what systemd's finding means; empty if a helper, whose
// reason is the unit's status already, has failed.
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
		return "the guest did not come up in time"
	case "exit-code":
		if os.Getenv("EXIT_CODE") == "exited" && os.Getenv("EXIT_STATUS") != "0" {
			return "QEMU exited with status " + os.Getenv("EXIT_STATUS")
		}
	}
	return ""
}

// readStatus reads what the guest has reported; nothing if it never started.
func readStatus() contract.Status {
	f, err := os.Open(contract.StatusFile)
	if err != nil {
		return contract.Status{}
	}
	defer f.Close()
	return contract.ParseStatus(f)
}

// result turns what the guest has reported into the unit's result. When
// systemd has found a failure already, that is the one to keep.
func result(context.Context, []string) (int, error) {
	status := readStatus()
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
	// One that was not ready has been stopped: else the start would have failed.
	case status.Stopping, !status.Ready:
		notify("STATUS=Shut down")
		return 0, nil
	}
	return 0, errors.New("the guest ended without a word: its kernel crashed, or QEMU was told to quit")
}
