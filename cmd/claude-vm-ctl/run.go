package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/guard"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

type runVerb struct {
	dir     string
	options options
	args    []string
}

func (r *runVerb) register(app *kingpin.Application) string {
	cmd := app.Command("run", "Start a VM on a directory, attach to Claude Code in it, return its exit status.")
	describe(cmd, "[-- ARGUMENTS...]", "run", "run --memory 8G --publish 3000 ~/src/web", `run . -- -p "fix the failing test" >answer`)
	directoryArg(cmd, &r.dir)
	r.options.register(cmd)
	return cmd.FullCommand()
}

func (r *runVerb) arguments(args []string) { r.args = args }

func (r *runVerb) run(ctx context.Context, out *output) (int, error) {
	v, u, err := open(ctx, r.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	if u.Running() {
		return v.join(ctx, out, u, len(r.args)+len(r.options) > 0)
	}
	if err := v.ensureUnits(ctx, out, u); err != nil {
		return 0, err
	}
	o, err := v.overridesOf(ctx, r.options)
	if err != nil {
		return 0, err
	}
	request, err := newRequest(out, "run", r.args)
	if err != nil {
		return 0, err
	}
	request.Attached = true
	if err := v.fitTerminal(ctx, &request, o); err != nil {
		return 0, err
	}
	if err := v.start(ctx, out, request, o); err != nil {
		return 0, err
	}
	v.warn(out)
	status, err := v.session(ctx, out, request.Terminal)
	if u, stateErr := v.state(ctx); err == nil && stateErr == nil && u.Gone() { // not detached
		err = v.reportGuard(ctx, out)
	}
	return status, err
}

// warn prints what the user should know about the VM that has just started.
func (v *target) warn(out *output) {
	record, _ := v.paths.ReadRecord(v.id) // without a record, there is nothing to warn about
	for _, text := range record.Warnings {
		out.warning(text)
	}
	// Setup warns about other reasons. To it, everything is read-only.
	if err := unix.Access(v.dir, unix.W_OK); err == unix.EROFS {
		out.warning(fmt.Sprintf("you cannot create files in %s, and neither can the VM: %v", v.dir, err))
	}
	found, err := guard.Open(v.paths.GuardFile(v.id)).Known()
	if err != nil {
		out.warning(err.Error())
	}
	v.warnOfFindings(out, found)
	v.noteLogin(out, record)
	for _, e := range v.ignored() {
		out.warning(fmt.Sprintf("%v; no VM has the settings of this file; fix: %s", e, vmfile.FixCommand(e.File)))
	}
	if err := preflight.OpenKVM(); err != nil {
		out.note("warning: no KVM, so this VM is slow; see claude-vm-ctl doctor")
	}
}
