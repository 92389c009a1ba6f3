package main

import (
	"context"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// fitTerminal makes the request of somebody who will attach agree with what the
// settings say about Claude's terminal.
func (v *target) fitTerminal(ctx context.Context, r *contract.Request, n *overrides) error {
	env, err := v.manager.Environment(ctx, v.unit())
	if err != nil {
		return err
	}
	terminal := env["CLAUDE_TERMINAL"]
	if n != nil {
		terminal = n.settings.Terminal
	}
	switch terminal {
	case vm.TerminalNo:
		r.Terminal = false
	case vm.TerminalYes:
		if !r.Terminal {
			return failure.New(failure.Usage, "claude-vm-ctl start"+v.here(), "Claude has a terminal here (Terminal=yes), and this is none")
		}
	}
	return nil
}
