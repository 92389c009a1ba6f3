package main

import (
	"cmp"
	"context"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

type startVerb struct {
	name    string
	dir     string
	options options
	args    []string
}

func (s *startVerb) register(app *kingpin.Application) string {
	cmd := app.Command("start", "Start a VM on a directory and leave Claude Code running in it.")
	describe(cmd, "[-- ARGUMENTS...]", "start --network none ~/src/web")
	directoryArg(cmd, &s.dir)
	s.options.register(cmd)
	s.name = cmd.FullCommand()
	return s.name
}

func (s *startVerb) arguments(args []string) { s.args = args }

func (s *startVerb) run(ctx context.Context, out *output) (int, error) {
	v, u, err := open(ctx, s.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	if u.Running() && len(s.args)+len(s.options) > 0 {
		return 0, failure.New(failure.Failed, "claude-vm-ctl stop"+v.hintArg(), "a VM is already running on %s; its options and Claude's arguments cannot be changed", v.dir)
	}
	if err := v.ensureUnits(ctx, out, u); err != nil {
		return 0, err
	}
	o, err := v.overridesOf(ctx, s.options)
	if err != nil {
		return 0, err
	}
	request, err := newRequest(out, s.name, s.args)
	if err != nil {
		return 0, err
	}
	request.Terminal = true // for a client that attaches later
	if err := v.start(ctx, out, request, o); err != nil {
		return 0, err
	}
	v.warn(out)
	return 0, nil
}

type stopVerb struct{ dir string }

func (s *stopVerb) register(app *kingpin.Application) string {
	cmd := app.Command("stop", "Shut down a VM and wait until it has stopped.")
	describe(cmd, "", "stop ~/src/web")
	directoryArg(cmd, &s.dir)
	return cmd.FullCommand()
}

func (s *stopVerb) run(ctx context.Context, out *output) (int, error) {
	v, u, err := open(ctx, s.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	if u.Gone() {
		return 0, v.noInstance("claude-vm-ctl list")
	}
	if _, err := v.manager.Stop(ctx, v.unit()); err != nil {
		return 0, err
	}
	return 0, cmp.Or(v.checkShutdown(ctx), v.reportGuard(ctx, out))
}

// checkShutdown returns an error if systemd had to kill the VM.
func (v *target) checkShutdown(ctx context.Context) error {
	u, err := v.state(ctx)
	if err != nil {
		return err
	}
	if u.Result == "timeout" {
		return failure.New(failure.Failed, "claude-vm-ctl logs"+v.hintArg(), "the guest did not shut down in time and was killed")
	}
	return nil
}

type restartVerb struct{ dir string }

func (r *restartVerb) register(app *kingpin.Application) string {
	cmd := app.Command("restart", "Restart a VM with the same arguments of Claude and the same options.")
	describe(cmd, "", "restart ~/src/web")
	directoryArg(cmd, &r.dir)
	return cmd.FullCommand()
}

func (r *restartVerb) run(ctx context.Context, out *output) (int, error) {
	v, u, err := open(ctx, r.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	if !u.Running() { // as systemctl restart does
		return (&startVerb{name: "restart", dir: r.dir}).run(ctx, out)
	}
	if err := v.ensureUnits(ctx, out, u); err != nil {
		return 0, err
	}
	if _, err := v.overridesOf(ctx, nil); err != nil { // the .vm files are invalid or not read
		return 0, err
	}
	if err := v.restart(ctx, out); err != nil {
		return 0, err
	}
	v.warn(out)
	return 0, nil
}
