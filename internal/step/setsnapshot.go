package step

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
)

// commandManager is the part of manager.Manager that SnapshotSpec needs.
type commandManager interface {
	serviceEnvironment
	Command(ctx context.Context, unit string) (path string, arguments []string, err error)
}

// SnapshotSpec describes the snapshot from which the instance of a record can resume, or returns nil if it
// cannot. QEMU's command is that of the VM's unit; the step exec compares it with the command that systemd
// really executes.
func SnapshotSpec(ctx context.Context, m commandManager, id string, r instance.Record, bundle, virtiofsd string) (*snapshot.Spec, error) {
	unit := instance.VM.Unit(id)
	environment, err := m.ServiceEnvironment(ctx, unit)
	if err != nil {
		return nil, err
	}
	// A disk or a device of the user's must not be opened by two QEMUs.
	if !r.Settings.Resume || environment["QEMU_ARGUMENTS"] != "" {
		return nil, nil
	}
	file, err := preflight.BundleEnvironment(bundle)
	if err != nil {
		return nil, err
	}
	maps.Copy(environment, file)
	_, command, err := m.Command(ctx, unit)
	if err != nil {
		return nil, err
	}
	// "claude-vm-ctl unit exec -- ID", then QEMU.
	const before = 5
	if len(command) <= before || !slices.Equal(command[1:before], []string{"unit", "exec", "--", id}) {
		return nil, nil
	}
	kvm := preflight.OpenKVM() == nil
	command = processor(snapshot.Expand(command[before:], environment), environment[processorVariable], kvm)
	if !snapshot.Possible(command) {
		return nil, nil
	}
	s := &snapshot.Spec{
		Command: snapshot.Normalize(command), Bundle: bundle, KVM: kvm,
		Memory: r.Settings.Memory, CPUs: r.Settings.CPUs, Guest: r.GuestVersion, Host: r.Host, Insecure: r.Settings.Insecure,
	}
	if r.Image != nil {
		s.Image, s.Guest = r.Image.File(), r.Image.Name
	}
	s.Virtiofsd, err = preflight.FindVirtiofsd(virtiofsd)
	return s, err
}

// addSnapshot adds to the record of a run from which snapshot it resumes, or writes how to make it.
// Nothing of this is worth failing the start.
func addSnapshot(ctx context.Context, m commandManager, paths instance.Paths, id string, r *instance.Record, bundle string) {
	use, err := findSnapshot(ctx, m, paths.Snapshots(), id, *r, bundle)
	if err != nil {
		fmt.Fprintf(os.Stderr, "cannot resume: %v\n", failure.Plain(err))
		return
	}
	r.Snapshot = use
}

func findSnapshot(ctx context.Context, m commandManager, store snapshot.Store, id string, r instance.Record, bundle string) (*snapshot.Use, error) {
	spec, err := SnapshotSpec(ctx, m, id, r, bundle, os.Getenv("VIRTIOFSD"))
	if spec == nil || err != nil {
		return nil, err
	}
	key, err := spec.Key()
	if err != nil {
		return nil, err
	}
	use := &snapshot.Use{Key: key, Command: snapshot.Digest(spec.Command), KVM: spec.KVM}
	found, err := store.Read(key)
	if err == nil {
		err = store.Check(found)
	}
	switch {
	case err == nil:
		use.Resume = true
		store.Touch(key)
		return use, nil
	case !snapshot.IsMissing(err) || found.Guest != "":
		fmt.Fprintf(os.Stderr, "cannot resume from the snapshot %s, which is discarded; booting instead: %v\n", key, failure.Plain(err))
		if err := store.Remove(key); err != nil {
			return nil, err
		}
	}
	return use, store.WriteSpec(key, *spec)
}
