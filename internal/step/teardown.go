package step

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// teardown removes what belongs to one run of the instance on args[0]. Only
// what a restart is to find again stays.
func teardown(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	job, err := restartJob(ctx, paths, id)
	if err != nil {
		fmt.Fprintf(os.Stderr, "ask the user manager for the job: %v\n", err)
	}
	if job != "" {
		return 0, paths.KeepRecord(id, job)
	}
	return 0, errors.Join(paths.RemoveRun(id), dropOverrides(ctx, paths, id))
}

// restartJob gives the VM's job if its runtime unit is being stopped to be started
// again, else none. That unit's job tells a restart from a start that comes quickly
// after a stop; the VM's, of which the first half is done, does not, but will
// still be the same for the setup unit.
func restartJob(ctx context.Context, paths instance.Paths, id string) (string, error) {
	m, err := manager.DialDirect(ctx, paths.Runtime)
	if err != nil {
		return "", err
	}
	defer m.Close()
	runtime, err := m.Job(ctx, instance.Runtime.Unit(id))
	if err != nil || runtime.Type != "restart" {
		return "", err
	}
	vm, err := m.Job(ctx, instance.VM.Unit(id))
	return vm.ID, err
}

// dropOverrides removes the overrides of a run that has ended and makes the manager
// forget them: it may keep a unit loaded for many reasons, a timer among them.
func dropOverrides(ctx context.Context, paths instance.Paths, id string) error {
	removed, err := dropin.RemoveOverrides(paths.RuntimeUnits(), id)
	if err != nil || !removed {
		return err
	}
	m, err := manager.DialDirect(ctx, paths.Runtime)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Reload(ctx)
}
