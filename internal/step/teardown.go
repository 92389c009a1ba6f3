package step

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// teardown removes the files of the run of the instance on args[0]. For a restart it keeps
// the record and the overrides.
func teardown(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	job, err := restartJob(ctx, paths, id)
	if err != nil {
		fmt.Fprintf(os.Stderr, "assuming a stop, not a restart: %v\n", err)
	}
	key := resuming(paths, id)
	if key != "" {
		if err := discardSnapshot(ctx, paths, id, key); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if job != "" {
		return 0, paths.KeepRecord(id, job, key != "")
	}
	return 0, errors.Join(paths.RemoveRun(id), removeOverrides(ctx, paths, id))
}

// restartJob returns the id of the VM's job if the instance is being restarted, else an
// empty string. Only the job of the runtime unit shows this: the VM has already stopped, so
// its job has type start, as for a start shortly after a stop. restartJob nevertheless returns
// the id of the VM's job, because the setup unit compares it with the id in the record.
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

// removeOverrides removes the overrides of a run. It also reloads the manager, in which the
// unit can stay loaded with them, for example because a timer refers to it.
func removeOverrides(ctx context.Context, paths instance.Paths, id string) error {
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

// resuming returns the key of the snapshot from which an instance should resume, if it has not started
// Claude yet; else an empty string.
func resuming(paths instance.Paths, id string) string {
	r, err := paths.ReadRecord(id)
	if err != nil || r.Snapshot == nil || !r.Snapshot.Resume || guest.ReadStatus(paths.RuntimeDirectory(id)).Ready {
		return ""
	}
	return r.Snapshot.Key
}

// discardSnapshot discards the snapshot from which an instance should resume if QEMU was killed: that would
// happen again.
func discardSnapshot(ctx context.Context, paths instance.Paths, id, key string) error {
	m, err := manager.DialDirect(ctx, paths.Runtime)
	if err != nil {
		return err
	}
	defer m.Close()
	vm, err := m.Unit(ctx, instance.VM.Unit(id))
	if err != nil || vm.Result != "signal" && vm.Result != "core-dump" {
		return err
	}
	fmt.Fprintf(os.Stderr, "cannot resume from the snapshot %s, which is discarded: QEMU was killed\n", key)
	return paths.Snapshots().Discard(key)
}
