package main

import (
	"context"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/step"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// fitTerminal makes the request of somebody who will attach agree with what the
// settings say about Claude's terminal.
func (v *target) fitTerminal(ctx context.Context, r *instance.Request, n *overrides) error {
	settings, err := step.Settings(ctx, v.manager, v.id, v.dir)
	if n != nil {
		settings, err = n.settings, nil
	}
	if err != nil {
		return err
	}
	switch settings.Terminal {
	case vm.TerminalNo:
		r.Terminal = false
	case vm.TerminalYes:
		if !r.Terminal {
			return failure.New(failure.Usage, "claude-vm-ctl start"+v.here(), "Claude has a terminal here (Terminal=yes), and this is none")
		}
	}
	return nil
}
