package step

import (
	"context"
	"fmt"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// startJob returns the unit of the VM, and the id of the user manager's job that starts it, if
// there is one. It first waits for a VM that is stopping, because setup replaces the runtime
// directory.
func startJob(ctx context.Context, m *manager.Manager, id string) (vm manager.Unit, job string, err error) {
	for {
		vm, err := m.Unit(ctx, instance.VM.Unit(id))
		if err != nil {
			return vm, "", err
		}
		if vm.ActiveState != "deactivating" {
			j, err := m.Job(ctx, instance.VM.Unit(id))
			return vm, j.ID, err
		}
		select {
		// Poll: DialDirect connects without a bus, so there are no change signals.
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return vm, "", context.Cause(ctx)
		}
	}
}

// restartParts restarts the parts that are still active after the previous start, which has failed or
// ended just now. Their files and sockets are in directories that setup replaces. They start after
// setup. If the VM restarts, systemd has stopped them.
func restartParts(ctx context.Context, m *manager.Manager, id string) error {
	for _, p := range instance.Parts {
		if p == instance.Runtime || p == instance.Setup || p == instance.VM || p.When == instance.Triggered {
			continue
		}
		if err := m.TryRestart(ctx, p.Unit(id)); err != nil {
			return fmt.Errorf("restart %s of the previous run: %w", p.Unit(id), err)
		}
	}
	return nil
}
