package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"golang.org/x/term"
)

type runVerb struct {
	dir  string
	args []string
}

func (r *runVerb) register(app *kingpin.Application) string {
	cmd := app.Command("run", "Start a VM on a directory, attach to Claude Code in it, return its exit status.")
	directoryArg(cmd, &r.dir)
	return cmd.FullCommand()
}

// directoryArg declares the argument that every verb on an instance has.
func directoryArg(cmd *kingpin.CmdClause, target *string) {
	cmd.Arg("dir", "The project's directory, or its id.").Default(".").StringVar(target)
}

func (r *runVerb) arguments(args []string) { r.args = args }

func (r *runVerb) run(ctx context.Context, out *output) (int, error) {
	v, err := open(ctx, r.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	u, err := v.state(ctx)
	if err != nil {
		return 0, err
	}
	if u.Running() {
		return v.join(ctx, out, u, r.args)
	}
	// Keeps the unit's result readable until the end.
	if err := v.manager.Ref(ctx, v.unit()); err != nil && u.LoadState == "loaded" {
		return 0, err
	}
	request := newRequest(out, r.args)
	request.Attached = true
	if err := v.start(ctx, out, request); err != nil {
		return 0, err
	}
	if err := v.manager.Ref(ctx, v.unit()); err != nil {
		return 0, err
	}
	warnEmulation(out)
	return v.session(ctx, out, request.Terminal)
}

// join attaches to a VM that runs already, or is about to.
func (v *vm) join(ctx context.Context, out *output, u manager.Unit, args []string) (int, error) {
	if len(args) > 0 {
		return 0, fail(exitFailure, "claude-vm-ctl attach"+v.here()+", or stop it first",
			"a VM runs on %s already: Claude's arguments cannot be changed any more", v.dir)
	}
	if !out.terminal() {
		return 0, fail(exitFailure, "claude-vm-ctl attach"+v.here()+" on a terminal",
			"a VM runs on %s already and its Claude has a terminal", v.dir)
	}
	if err := v.manager.Ref(ctx, v.unit()); err != nil {
		return 0, err
	}
	if u.ActiveState == "activating" {
		stop := v.showProgress(out)
		err := v.manager.Watch(ctx, v.unit(), func(u manager.Unit) bool { return u.ActiveState != "activating" })
		stop()
		if err != nil {
			return 0, err
		}
	}
	return v.session(ctx, out, true)
}

// session attaches to Claude and returns its status when the VM is gone.
func (v *vm) session(ctx context.Context, out *output, terminal bool) (int, error) {
	client, err := v.dial(ctx, contract.UserClaude)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	status, err := attach(ctx, out, client, terminal)
	switch {
	case errors.Is(err, errDetached):
		out.note("detached; Claude goes on. Come back with: claude-vm-ctl attach%s", v.here())
		return 0, nil
	case errors.Is(err, guest.ErrLost):
		return 0, v.lost(ctx)
	case err != nil:
		return 0, err
	}
	client.Close()
	return status, v.awaitEnd(ctx)
}

// awaitEnd waits until the VM has powered off, also when the signal that ended
// Claude was meant for us as well.
func (v *vm) awaitEnd(ctx context.Context) error {
	return v.manager.Watch(context.WithoutCancel(ctx), v.unit(), manager.Unit.Gone)
}

// lost says why the connection ended before Claude did.
func (v *vm) lost(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last manager.Unit
	err := v.manager.Watch(ctx, v.unit(), func(u manager.Unit) bool {
		last = u
		return u.Gone()
	})
	hint := "claude-vm-ctl logs" + v.here()
	if err != nil {
		return fail(exitLost, hint, "the connection into the VM on %s was lost", v.dir)
	}
	reason := oneLine(last.StatusText)
	if last.Result == "oom-kill" {
		reason = "it was killed because memory ran out"
	}
	if last.Result == "success" && last.ActiveState == "inactive" {
		return fail(exitLost, hint, "the VM on %s was stopped", v.dir)
	}
	if reason == "" {
		reason = "result " + last.Result
	}
	return fail(exitLost, hint, "the VM on %s ended: %s", v.dir, reason)
}

// newRequest is what the person's terminal and environment say about a start.
func newRequest(out *output, args []string) contract.Request {
	r := contract.Request{Arguments: args, Terminal: out.terminal(), Environment: map[string]string{}}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if handedIn(name) {
			r.Environment[name] = value
		}
	}
	if r.Terminal {
		if columns, rows, err := term.GetSize(int(out.stdout.Fd())); err == nil {
			r.Columns, r.Rows = columns, rows
		}
	}
	return r
}

// handedIn says which variables of the caller's environment Claude gets: those
// of its own and those that describe the terminal.
func handedIn(name string) bool {
	switch name {
	case "TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "NO_COLOR", "TZ":
		return true
	case "CLAUDE_CONFIG_DIR": // a path of the host
		return false
	}
	return strings.HasPrefix(name, "ANTHROPIC_") || strings.HasPrefix(name, "CLAUDE_CODE_")
}

// warnEmulation tells a person that the VM is slow and what would make it fast.
func warnEmulation(out *output) {
	if err := kvmUsable(); err != nil {
		out.note("warning: no KVM, so this VM is slow; see claude-vm-ctl doctor")
	}
}

func kvmUsable() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w", plain(err))
	}
	return f.Close()
}
