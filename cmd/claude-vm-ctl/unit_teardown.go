package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// setupJob gives the job of the setup unit. It, and not the VM's, tells a restart
// from a start that comes quickly after a stop: that has a job of its own.
func setupJob(ctx context.Context, env instance.Environment, id string) (manager.Job, error) {
	m, err := manager.DialDirect(ctx, env.RuntimeDir)
	if err != nil {
		return manager.Job{}, err
	}
	defer m.Close()
	return m.Job(ctx, instance.SetupUnit(id))
}

// unitTeardown removes what belongs to one run of the instance on args[0]. Only
// what a restart is to find again stays.
func unitTeardown(ctx context.Context, args []string) (int, error) {
	env, err := instance.HostEnvironment()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	job, err := setupJob(ctx, env, id)
	if err != nil {
		fmt.Fprintf(os.Stderr, "ask the user manager for the job: %v\n", err)
	}
	if job.Type == "restart" {
		return 0, errors.Join(env.KeepRequest(id, job.ID), env.RemoveRuntimeDirectory(id))
	}
	return 0, errors.Join(env.RemoveRuntimeDirectory(id), env.DropKept(id), removeOnce(ctx, env, id))
}

// onceFile is the drop-in with the options of one run.
const onceFile = "zz-once.conf"

// removeOnce removes the drop-ins of one run, and makes the manager forget those
// of a unit that stays loaded.
func removeOnce(ctx context.Context, env instance.Environment, id string) error {
	removed := false
	for _, unit := range []string{instance.Unit(id), instance.ShareUnit(id), instance.SetupUnit(id)} {
		dir := filepath.Join(env.RuntimeDir, "systemd/user", unit+".d")
		err := os.Remove(filepath.Join(dir, onceFile))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		removed = true
		os.Remove(dir) // if nothing else is in it
	}
	if !removed {
		return nil
	}
	m, err := manager.DialDirect(ctx, env.RuntimeDir)
	if err != nil {
		return err
	}
	defer m.Close()
	stays, err := staysLoaded(ctx, m, id)
	if err != nil || !stays {
		return err
	}
	return m.Reload(ctx)
}

// staysLoaded says whether a unit of the instance is not forgotten when this one
// has stopped: others want it, or it has failed.
func staysLoaded(ctx context.Context, m *manager.Manager, id string) (bool, error) {
	if os.Getenv("SERVICE_RESULT") != "success" {
		return true, nil // this one
	}
	share, err := m.Unit(ctx, instance.ShareUnit(id))
	if err != nil {
		return false, err
	}
	vm, err := m.Unit(ctx, instance.Unit(id))
	return vm.Wanted || vm.ActiveState == "failed" || share.ActiveState == "failed", err
}
