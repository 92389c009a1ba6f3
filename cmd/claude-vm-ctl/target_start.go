package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// start starts the instance with a request, and with overrides if n is not nil, and
// waits until Claude runs. Its error has the unit that failed and the reason.
func (v *target) start(ctx context.Context, out *output, r instance.Request, n *overrides) error {
	if n != nil {
		r.Overrides = n.token
	}
	offer, err := v.offer(ctx)
	if err != nil {
		return err
	}
	defer offer.Withdraw()
	running, err := v.awaitGone(ctx)
	if err != nil {
		return err
	}
	if !running {
		defer func() {
			if n != nil && !offer.Taken() { // otherwise the runtime unit removes them
				v.setOverrides(context.WithoutCancel(ctx), nil)
			}
		}()
		if err := v.setOverrides(ctx, n); err != nil {
			return err
		}
		// Last, so that setup finds the overrides when it takes the request.
		if err := offer.Fill(r); err != nil {
			return err
		}
	}
	if err := v.runJob(ctx, out, offer, v.manager.Start); err != nil {
		return err
	}
	if !offer.Taken() && (len(r.Arguments) > 0 || !r.Terminal || n != nil) {
		return failure.New(failure.Failed, "claude-vm-ctl attach"+v.hintArg(), "another process has just started the VM on %s, with other arguments or options", v.dir)
	}
	return nil
}

// restart restarts the VM's unit and waits until Claude runs, with the arguments and
// options of the run before.
func (v *target) restart(ctx context.Context, out *output) error {
	offer, err := v.offer(ctx) // not for a request: setup writes the reason of a failure to it
	if err != nil {
		return err
	}
	defer offer.Withdraw()
	return v.runJob(ctx, out, offer, v.manager.Restart)
}

// runJob runs a job that starts the VM.
func (v *target) runJob(ctx context.Context, out *output, offer *instance.Offer, job func(context.Context, string) (string, error)) error {
	stop := v.showProgress(out)
	began := time.Now()
	result, err := job(ctx, v.unit())
	stop()
	switch {
	case err != nil && ctx.Err() != nil:
		return v.interrupted(ctx)
	case err != nil:
		return failure.New(failure.StartFailed, "claude-vm-ctl doctor", "start %s: %w", v.unit(), err)
	}
	switch result {
	case "done":
		return nil
	case "canceled":
		return failure.New(failure.StartFailed, "claude-vm-ctl logs"+v.hintArg(), "the VM on %s was stopped while it started", v.dir)
	}
	return v.explain(ctx, began, offer)
}

// stopTimeout limits the stop of a VM whose start was interrupted.
const stopTimeout = time.Minute

// interrupted stops a VM whose start was interrupted.
func (v *target) interrupted(ctx context.Context) error {
	stopping, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopTimeout, fmt.Errorf("timed out after %v", stopTimeout))
	defer cancel()
	if _, err := v.manager.Stop(stopping, v.unit()); err != nil {
		return failure.New(failure.Failed, "claude-vm-ctl stop"+v.hintArg(), "interrupted, but %s was not stopped: %w", v.unit(), err)
	}
	return context.Cause(ctx)
}

// offer creates the offer of a start. It waits while another process starts the instance.
func (v *target) offer(ctx context.Context) (*instance.Offer, error) {
	for {
		offer, err := v.paths.Offer(v.id)
		if !errors.Is(err, instance.ErrStarting) {
			return offer, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// awaitGone waits until the instance has stopped: its runtime unit stops last, and removes
// the overrides. If the instance runs, for example because another process has started it,
// awaitGone returns true immediately.
func (v *target) awaitGone(ctx context.Context) (running bool, err error) {
	for {
		now, err := v.manager.Brief(ctx, v.unit(), instance.Runtime.Unit(v.id))
		if err != nil || now[0].Running() {
			return true, err
		}
		if now[0].Gone() && now[1].Gone() {
			return false, nil
		}
		select {
		case <-time.After(20 * time.Millisecond): // Watch takes one unit only
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// explain returns which unit failed to start and why.
func (v *target) explain(ctx context.Context, began time.Time, offer *instance.Offer) error {
	hint := "claude-vm-ctl logs" + v.hintArg()
	p, u := v.firstFailed(ctx, began)
	if p == nil {
		return failure.New(failure.StartFailed, hint, "the VM on %s was stopped while it started", v.dir)
	}
	reason := failure.OneLine(u.StatusText)
	if reason == "" {
		reason = lastLogLine(ctx, u.Name, began)
	}
	if reason == "" {
		reason = "result " + u.Result
	}
	if p == instance.Setup {
		hint = ""
		if refusal := offer.Refusal(); refusal != nil {
			reason, hint = refusal.Error(), refusal.Hint
		}
		return failure.New(failure.HostUnable, cmp.Or(hint, "claude-vm-ctl doctor"), "%s", reason)
	}
	return failure.New(failure.StartFailed, hint, "the VM on %s did not start: %s", v.dir, reason)
}

// firstFailed returns the part that has failed first since a time, and its unit; nil if there is
// none. Parts that were starting then can fail when they are stopped.
func (v *target) firstFailed(ctx context.Context, since time.Time) (part *instance.Part, unit manager.Unit) {
	for _, p := range instance.Parts {
		// A gateway that cannot start makes the VM's unit fail.
		if p.When != instance.Always && p != instance.Gateway && p != instance.Fetch {
			continue
		}
		u, err := v.manager.Unit(ctx, p.Unit(v.id))
		if err != nil || u.ActiveState != "failed" && (u.Result == "success" || u.Result == "") || u.Since.Before(since) && !u.Since.IsZero() {
			continue
		}
		if part == nil || u.Since.Before(unit.Since) {
			part, unit = p, u
		}
	}
	return part, unit
}
