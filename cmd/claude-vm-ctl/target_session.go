package main

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
)

// join attaches to a VM that already runs or is starting.
func (v *target) join(ctx context.Context, out *output, u manager.Unit, changes bool) (int, error) {
	if changes {
		return 0, failure.New(failure.Failed, "claude-vm-ctl attach"+v.hintArg(),
			"a VM is already running on %s; its options and Claude's arguments cannot be changed", v.dir)
	}
	if !out.terminal() {
		return 0, failure.New(failure.Failed, "claude-vm-ctl attach"+v.hintArg(),
			"a VM is already running on %s; attaching to it needs a terminal", v.dir)
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
			return 0, failure.New(failure.Interrupted, "", "interrupted; the VM continues to start")
		case err != nil:
			return 0, err
		case !u.Running():
			return 0, v.lost(ctx)
		}
	}
	return v.session(ctx, out, true)
}

// session attaches to Claude and, after the VM has stopped, returns Claude's exit status.
func (v *target) session(ctx context.Context, out *output, tty bool) (int, error) {
	client, err := v.dial(ctx, contract.UserClaude)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	v.showOn(out)
	status, err := attach(ctx, out, client, tty)
	switch {
	case errors.Is(err, terminal.ErrDetached):
		out.note("detached; Claude keeps running. To attach again: claude-vm-ctl attach%s", v.hintArg())
		return 0, nil
	case errors.Is(err, guest.ErrSilent):
		return 0, v.dialError(err)
	case errors.Is(err, guest.ErrLost):
		return 0, v.lost(ctx)
	case errors.Is(err, guest.ErrRejected):
		return 0, failure.New(failure.Failed, "claude-vm-ctl shell"+v.hintArg(), "Claude in the VM on %s has no terminal: another process uses its standard streams", v.dir)
	case err != nil && !tty: // for example, standard output is full: Claude exits without its streams
		client.Close()
		return 0, cmp.Or(v.awaitEnd(ctx, out), err) // that the VM does not stop is worse
	case err != nil:
		return 0, err
	}
	client.Close()
	return status, v.awaitEnd(ctx, out)
}

// showOn sets how the guest's output is shown on a terminal.
func (v *target) showOn(out *output) {
	out.guest.name = filepath.Base(v.dir)
	if record, err := v.paths.ReadRecord(v.id); err == nil {
		out.guest.clipboard = record.Settings.Clipboard
	}
}

// powerOffTimeout is how long a guest may take to power off after Claude has exited. No
// timeout of systemd applies, since the unit is not being stopped.
const powerOffTimeout = time.Minute

// awaitEnd waits until the VM has powered off, and stops it if that takes too long. It
// ignores ctx: the signal that terminated Claude may have been sent to this process, too.
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

var errStillRuns = errors.New("the VM still runs")

// lost returns the reason why the connection was lost before Claude exited.
func (v *target) lost(ctx context.Context) error {
	const timeout = time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errStillRuns)
	defer cancel()
	var last manager.Unit
	err := v.manager.Watch(ctx, v.unit(), func(u manager.Unit) bool {
		last = u
		return u.Gone()
	})
	hint := "claude-vm-ctl logs" + v.hintArg()
	if errors.Is(err, errStillRuns) {
		return failure.New(failure.Lost, hint, "lost the connection to the VM on %s, which still runs", v.dir)
	}
	if err != nil {
		return failure.New(failure.Lost, hint, "lost the connection to the VM on %s: %w", v.dir, err)
	}
	reason := failure.OneLine(last.StatusText)
	if last.Result == "success" && last.ActiveState == "inactive" {
		return failure.New(failure.Lost, hint, "the VM on %s was stopped", v.dir)
	}
	if reason == "" {
		reason = "result " + last.Result
	}
	return failure.New(failure.Lost, hint, "the VM on %s failed: %s", v.dir, reason)
}
