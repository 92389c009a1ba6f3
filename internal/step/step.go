// Package step implements the commands that the units of an instance run, as
// "claude-vm-ctl unit STEP". Settings come from the units' environment.
package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// steps are the values of STEP.
var steps = map[string]struct {
	args int // number of arguments; -1 for any number
	run  func(context.Context, []string) (int, error)
}{
	"setup":        {1, setup},
	"teardown":     {1, teardown},
	"share":        {-1, share},
	"watch-share":  {2, watchShare},
	"watch-host":   {1, watchHost},
	"end-share":    {0, endShare},
	"part-failed":  {1, partFailed},
	"exec":         {-1, execConfined},
	"qemu-errors":  {0, qemuErrors},
	"console":      {1, console},
	"fetch":        {1, fetchSecrets},
	"begin":        {1, begin},
	"ssh-agent":    {1, sshAgent},
	"ask":          {1, ask},
	"scratch":      {1, scratchDisk},
	"power-off":    {0, powerOff},
	"result":       {0, result},
	"start-guard":  {1, startGuard},
	"end-guard":    {1, endGuard},
	"resume":       {1, resume},
	"snapshot":     {1, makeSnapshot},
	"end-snapshot": {1, endSnapshot},
	"exec-alone":   {-1, execAlone},
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
		// HostUnable is the exit status of the step exec.
		if s := os.Getenv("EXIT_STATUS"); os.Getenv("EXIT_CODE") == "exited" && s != "0" && s != strconv.Itoa(failure.HostUnable) {
			return "QEMU exited with status " + s
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
