package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"golang.org/x/term"
)

type runVerb struct {
	dir     string
	options options
	args    []string
}

func (r *runVerb) register(app *kingpin.Application) string {
	cmd := app.Command("run", "Start a VM on a directory, attach to Claude Code in it, return its exit status.")
	directoryArg(cmd, &r.dir)
	r.options.register(cmd)
	return cmd.FullCommand()
}

// directoryArg declares the argument that every verb on an instance has.
func directoryArg(cmd *kingpin.CmdClause, target *string) {
	cmd.Arg("dir", "The project's directory, its id, or the name of its .vm file.").Default(".").HintAction(instanceHints).StringVar(target)
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
	warnEmulation(out)
	return v.session(ctx, out, request.Terminal)
}

// join attaches to a VM that runs already, or is about to.
func (v *target) join(ctx context.Context, out *output, u manager.Unit, changes bool) (int, error) {
	if changes {
		return 0, failure.New(failure.Failed, "claude-vm-ctl attach"+v.here(),
			"a VM runs on %s already: its options and Claude's arguments cannot be changed any more", v.dir)
	}
	if !out.terminal() {
		return 0, failure.New(failure.Failed, "claude-vm-ctl attach"+v.here(),
			"a VM runs on %s already and its Claude has a terminal, which this is not", v.dir)
	}
	if u.ActiveState == "activating" {
		stop := v.showProgress(out)
		err := v.manager.Watch(ctx, v.unit(), func(now manager.Unit) bool {
			u = now
			return u.ActiveState != "activating"
		})
		stop()
		switch {
		case ctx.Err() != nil:
			return 0, failure.New(failure.Interrupted, "", "interrupted; the VM goes on starting")
		case err != nil:
			return 0, err
		case !u.Running():
			return 0, v.lost(ctx)
		}
	}
	return v.session(ctx, out, true)
}

// session attaches to Claude and returns its status when the VM is gone.
func (v *target) session(ctx context.Context, out *output, terminal bool) (int, error) {
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
	case errors.Is(err, guest.ErrRefused):
		return 0, failure.New(failure.Failed, "claude-vm-ctl shell"+v.here(), "Claude has no terminal in the VM on %s: its streams are another's", v.dir)
	case err != nil:
		return 0, err
	}
	client.Close()
	return status, v.awaitEnd(ctx, out)
}

// powerOffTimeout is how long a guest may take to power off once Claude has
// ended. Nothing else bounds that: to systemd the unit simply runs.
const powerOffTimeout = time.Minute

// awaitEnd waits until the VM has powered off, also when the signal that ended
// Claude was meant for us as well, and makes an end of one that hangs.
func (v *target) awaitEnd(ctx context.Context, out *output) error {
	ctx = context.WithoutCancel(ctx)
	waiting, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	err := v.manager.Watch(waiting, v.unit(), manager.Unit.Gone)
	if err == nil || waiting.Err() == nil {
		return err
	}
	out.note("the guest does not power off; stopping it")
	stopping, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	_, err = v.manager.Stop(stopping, v.unit())
	return err
}

// lost says why the connection ended before Claude did.
func (v *target) lost(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the VM still runs"))
	defer cancel()
	var last manager.Unit
	err := v.manager.Watch(ctx, v.unit(), func(u manager.Unit) bool {
		last = u
		return u.Gone()
	})
	hint := "claude-vm-ctl logs" + v.here()
	if err != nil {
		return failure.New(failure.Lost, hint, "the connection into the VM on %s was lost, and why cannot be told: %w", v.dir, err)
	}
	reason := failure.OneLine(last.StatusText)
	if last.Result == "success" && last.ActiveState == "inactive" {
		return failure.New(failure.Lost, hint, "the VM on %s was stopped", v.dir)
	}
	if reason == "" {
		reason = "result " + last.Result
	}
	return failure.New(failure.Lost, hint, "the VM on %s ended: %s", v.dir, reason)
}

// newRequest is what the person's terminal and environment say about a start.
func newRequest(out *output, verb string, args []string) (instance.Request, error) {
	r := instance.Request{
		Session: contract.Session{Arguments: args, Terminal: out.terminal(), Environment: map[string]string{}},
		By:      startedBy(out, verb), AuthSocket: os.Getenv("SSH_AUTH_SOCK"),
	}
	for i, arg := range args {
		if !utf8.ValidString(arg) {
			return r, failure.New(failure.Usage, "claude-vm-ctl run . -- -p <FILE", "argument %d of Claude is not UTF-8: %q", i+1, arg)
		}
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if instance.HandedIn(name) && utf8.ValidString(value) {
			r.Environment[name] = value
		}
	}
	if r.Terminal {
		if columns, rows, err := term.GetSize(int(out.stdout.Fd())); err == nil {
			r.Columns, r.Rows = columns, rows
		}
	}
	return r, nil
}

// startedBy is who we are, to those who wonder whose VM it is.
func startedBy(out *output, verb string) string {
	by := fmt.Sprintf("claude-vm-ctl %s, process %d", verb, os.Getpid())
	for _, f := range []*os.File{out.stdin, out.stdout, out.stderr} {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil && term.IsTerminal(int(f.Fd())) {
			return by + ", on " + strings.TrimPrefix(name, "/dev/")
		}
	}
	return by
}

// warnEmulation tells a person that the VM is slow and what would make it fast.
func warnEmulation(out *output) {
	if err := preflight.OpenKVM(); err != nil {
		out.note("warning: no KVM, so this VM is slow; see claude-vm-ctl doctor")
	}
}
