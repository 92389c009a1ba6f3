package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
	"github.com/t0mpr1c3/claude-microvm/internal/step"
)

type snapshotMakeVerb struct{ dir string }

func (s *snapshotMakeVerb) register(app *kingpin.Application) string {
	cmd := snapshotCommand(app).Command("make", "Make the snapshot from which the VM on a directory will resume. Otherwise, the first start makes it, in the background.")
	describe(cmd, "", "snapshot make ~/src/web")
	directoryArg(cmd, &s.dir)
	return cmd.FullCommand()
}

func (s *snapshotMakeVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := hostPaths()
	if err != nil {
		return 0, noManager(err)
	}
	id, dir, err := find(paths, s.dir)
	if err != nil {
		return 0, err
	}
	m, err := manager.Dial(ctx)
	if err != nil {
		return 0, noManager(err)
	}
	defer m.Close()
	spec, err := newSnapshotSpec(ctx, m, paths, id, dir)
	if err != nil {
		return 0, err
	}
	if spec == nil {
		return 0, failure.New(failure.Failed, "man claude-vm.vm", "the VM on %s cannot resume: Resume=no, QEMUArguments=, or an architecture without vmgenid", dir)
	}
	key, err := spec.Key()
	if err != nil {
		return 0, failure.Plain(err)
	}
	store := paths.Snapshots()
	if _, err := store.Read(key); err == nil {
		_, err := fmt.Fprintln(out.stdout, key)
		return 0, err
	}
	if err := store.WriteSpec(key, *spec); err != nil {
		return 0, failure.Plain(err)
	}
	unit := instance.SnapshotUnit(key)
	if err := m.ResetFailed(ctx, unit); err != nil {
		return 0, err
	}
	out.progress("making the snapshot " + key)
	result, err := m.Start(ctx, unit)
	out.endProgress()
	if err != nil {
		return 0, err
	}
	if _, err := store.Read(key); result != "done" || snapshot.IsMissing(err) {
		return 0, failure.New(failure.Failed, "journalctl --user -u "+unit, "the snapshot was not made: %s", result)
	}
	_, err = fmt.Fprintln(out.stdout, key)
	return 0, err
}

// newSnapshotSpec describes the snapshot from which the next start on a directory can resume; nil if it
// cannot.
func newSnapshotSpec(ctx context.Context, m *manager.Manager, paths instance.Paths, id, dir string) (*snapshot.Spec, error) {
	var r instance.Record
	var err error
	if r.Settings, err = step.Settings(ctx, m, id, dir); err != nil {
		return nil, err
	}
	env, err := m.ServiceEnvironment(ctx, instance.Setup.Unit(id))
	if err != nil {
		return nil, err
	}
	if err := preflight.Host(env["QEMU"], env["VIRTIOFSD"], env["GUEST"]); err != nil {
		return nil, err
	}
	if r.Settings.Image != "" {
		if r.Image, err = image.Find(paths.GuestDirectories(), r.Settings.Image); err != nil {
			return nil, err
		}
	}
	bundle, err := preflight.BundleEnvironment(env["GUEST"])
	if err != nil {
		return nil, failure.Plain(err)
	}
	r.GuestVersion = bundle["GUEST_VERSION"]
	if r.Host, err = confine.ReadHost(paths.Home); err != nil {
		return nil, err
	}
	return step.SnapshotSpec(ctx, m, id, r, env["GUEST"], env["VIRTIOFSD"])
}
