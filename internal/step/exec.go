package step

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"golang.org/x/sys/unix"
)

// execConfined executes args[1:], QEMU of the instance with the id args[0], in place of this
// process, if the user manager has confined it as the unit asks for. It passes none of the
// user manager's variables on, which may contain secrets, and QEMU cannot signal other processes.
func execConfined(ctx context.Context, args []string) (int, error) {
	endIfStopped := takeSignals(ctx)
	if len(args) < 2 {
		return 0, failure.New(failure.Usage, "", "exec needs an id and a command")
	}
	path, err := exec.LookPath(args[1])
	if err == nil {
		err = checkConfined(args[0], confine.Wanted{})
	}
	if err == nil {
		var resume []string
		args = append(args[:1], processor(args[1:], os.Getenv(processorVariable), preflight.OpenKVM() == nil)...)
		resume, err = resumeArguments(args[0], args[1:])
		args = append(args, resume...)
	}
	if err == nil {
		err = boundErrors()
	}
	if err == nil {
		err = confine.OnlyItself()
	}
	if err == nil {
		notify("READY=1") // now ExecStartPost= can run
		err = confine.DenyDatagrams()
	}
	if err == nil {
		endIfStopped()
		err = syscall.Exec(path, args[1:], ownEnvironment())
	}
	return 0, failure.New(failure.HostUnable, "", "%w", err) // QEMU has no such exit status
}

// processorVariable is the variable of claude-vm@ with the processor that QEMU emulates.
const processorVariable = "EMULATED_CPU"

// processor returns QEMU's command with the processor model in place of the unit's if the command
// does not ask for KVM, or if there is none: then QEMU uses the next accelerator.
func processor(command []string, model string, kvm bool) []string {
	i := slices.Index(command, "-cpu") + 1
	if model == "" || kvm && slices.Contains(command, "kvm") || i == 0 || i == len(command) {
		return command
	}
	c := slices.Clone(command)
	c[i] = model
	return c
}

// takeSignals gives signals their default actions back, because systemd sends SIGTERM once: if this program
// caught it, the program that it is about to execute would run on. The returned function ends this process if
// one was caught before.
func takeSignals(ctx context.Context) (endIfStopped func()) {
	signal.Reset()
	return func() {
		if ctx.Err() != nil {
			unix.Kill(os.Getpid(), unix.SIGTERM)
			select {} // until the signal arrives
		}
	}
}

// checkConfined returns an error unless this process of an instance is confined, except for what
// Insecure= accepts.
func checkConfined(id string, w confine.Wanted) error {
	paths, err := instance.HostPaths()
	if err != nil {
		return err
	}
	r, err := paths.ReadRecord(id)
	if err != nil {
		return err
	}
	w.Insecure = r.Settings.Insecure
	accepted, err := confine.Check(r.Host, w)
	for _, m := range accepted {
		fmt.Fprintf(os.Stderr, "%v; accepted by Insecure=\n", m)
	}
	return err
}

// ownEnvironment returns the variables of this process that the programs of a VM get. Nix's
// garbage collector treats the paths in GUEST and PROGRAM as roots.
func ownEnvironment() []string {
	var env []string
	for _, variable := range os.Environ() {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "PATH", "GUEST", "PROGRAM":
			env = append(env, variable)
		}
	}
	return env
}
