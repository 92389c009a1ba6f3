package step

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
	"golang.org/x/sys/unix"
)

// snapshotMemory is the file in the sandbox of claude-vm@ from which QEMU loads the guest's memory.
const snapshotMemory = "/tmp/snapshot"

// How long a guest may take to load and to answer, with KVM and emulated by a busy machine. A guest that was
// saved on another processor never answers.
const (
	resumeTimeout   = 20 * time.Second
	emulatedTimeout = 2 * time.Minute
)

// restartTimeout is how long the user manager may take to stop the VM.
const restartTimeout = 30 * time.Second

// resumeArguments returns the arguments that make QEMU wait for the memory of the snapshot of an instance;
// none if it should boot. QEMU must be started as setup has expected when it chose the snapshot.
func resumeArguments(id string, command []string) ([]string, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return nil, err
	}
	r, err := paths.ReadRecord(id)
	if err != nil || r.Snapshot == nil {
		return nil, err
	}
	if snapshot.Digest(command) != r.Snapshot.Command {
		fmt.Fprintln(os.Stderr, "cannot resume, nor make a snapshot: QEMU's command is not that of the unit's settings")
		return nil, nil
	}
	if !r.Snapshot.Resume {
		return nil, nil
	}
	// Not -incoming file:…: QEMU 10 crashes if it loads a network card before its socket listens, and
	// if loading fails, it exits.
	return []string{"-incoming", "defer"}, nil
}

// connectGuest returns a connection to the guest's agent, after it has resumed or booted.
func connectGuest(ctx context.Context, r instance.Record) (*guest.Client, error) {
	if r.Snapshot == nil || !r.Snapshot.Resume {
		return dialBooting(ctx)
	}
	notify("STATUS=Resuming the guest")
	timeout := emulatedTimeout
	if r.Snapshot.KVM {
		timeout = resumeTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the guest does not answer after %v", timeout))
	defer cancel()
	err := loadMemory(limited)
	var client *guest.Client
	if err == nil || errors.Is(err, errBoots) {
		if err != nil {
			limited = ctx
		}
		client, err = dialBooting(limited)
	}
	if err == nil || ctx.Err() != nil {
		return client, cmp.Or(context.Cause(ctx), err)
	}
	fmt.Fprintf(os.Stderr, "cannot resume from the snapshot %s, which is discarded; booting instead: %v\n", r.Snapshot.Key, err)
	return nil, bootInstead(ctx)
}

// errBoots is the error of loadMemory if QEMU does not wait for the memory.
var errBoots = errors.New("QEMU boots the guest")

// loadMemory makes QEMU load the guest's memory and run the guest.
func loadMemory(ctx context.Context) error {
	m, err := awaitMonitor(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	var status struct{ Status string }
	if err := m.run("query-status", nil, &status); err != nil {
		return err
	}
	if status.Status != "inmigrate" {
		return errBoots
	}
	if err := m.mapMemory(); err != nil {
		return err
	}
	// Since QEMU 9.1.
	arguments := map[string]any{"uri": "file:" + snapshotMemory, "exit-on-error": false}
	if err := m.run("migrate-incoming", arguments, nil); err != nil {
		return err
	}
	return m.awaitMigration(ctx)
}

// mapMemory selects the format in which each page of the memory has its place in a sparse file.
func (m *monitor) mapMemory() error {
	return m.run("migrate-set-capabilities", map[string]any{
		"capabilities": []any{map[string]any{"capability": "mapped-ram", "state": true}},
	}, nil)
}

// awaitMigration waits until QEMU has loaded or saved the memory.
func (m *monitor) awaitMigration(ctx context.Context) error {
	for {
		var migration struct {
			Status string
			Error  string `json:"error-desc"`
		}
		if err := m.run("query-migrate", nil, &migration); err != nil {
			return err
		}
		switch migration.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return errors.New(cmp.Or(migration.Error, migration.Status))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// awaitMonitor connects to QEMU's monitor, whose socket it may not have created yet.
func awaitMonitor(ctx context.Context) (*monitor, error) {
	for {
		m, err := openMonitor(ctx)
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
			return m, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// bootInstead makes claude-vm-resume@ restart the VM without the snapshot, and waits for that. What waits
// for this start then waits for the restart: it is the same job. The unit's own Restart= would end the
// job, or with RestartMode=direct never, if setup fails.
func bootInstead(ctx context.Context) error {
	if err := requestResume(); err != nil {
		return err
	}
	select {
	case <-ctx.Done(): // SIGTERM
		return context.Cause(ctx)
	case <-time.After(restartTimeout):
		return errors.New("the VM could not resume, and was not restarted")
	}
}

// requestResume starts claude-vm-resume@.
func requestResume() error {
	f, err := os.OpenFile(contract.ResumeFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// resume runs when the VM on args[0] has booted or cannot resume. QEMU could create the file for it, too, so
// what to do depends only on what QEMU cannot change.
func resume(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	m, err := manager.DialDirect(ctx, paths.Runtime)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	id := instance.Escape(args[0])
	if err := os.RemoveAll(paths.ResumeFile(id)); err != nil {
		return 0, err
	}
	r, err := paths.ReadRecord(id)
	if errors.Is(err, os.ErrNotExist) || err == nil && r.Snapshot == nil {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	vm, err := m.Unit(ctx, instance.VM.Unit(id))
	if err != nil {
		return 0, err
	}
	switch {
	case !r.Snapshot.Resume: // also if Claude has exited already
		return 0, startSnapshot(ctx, m, paths.Snapshots(), r)
	case vm.ActiveState == "activating":
		if err := paths.Snapshots().Discard(r.Snapshot.Key); err != nil {
			return 0, err
		}
		return 0, m.QueueRestart(ctx, instance.VM.Unit(id))
	}
	return 0, nil
}

// startSnapshot makes a snapshot of the guest of a run, unless there is one, another one is being made, or
// the host lacks what it needs.
func startSnapshot(ctx context.Context, m *manager.Manager, store snapshot.Store, r instance.Record) error {
	key := r.Snapshot.Key
	if err := store.Prune(key); err != nil {
		return err
	}
	if _, err := store.Read(key); !snapshot.IsMissing(err) || store.IsBad(key) {
		return nil
	}
	unit := instance.SnapshotUnit(key)
	u, err := m.Unit(ctx, unit)
	if err != nil || u.ActiveState == "failed" { // until logout or reset-failed, it would fail again
		return err
	}
	others, err := m.Active(ctx, instance.SnapshotUnit("*"))
	if err != nil || len(others) > 0 {
		return err
	}
	if err := checkRoom(store, r.Settings.Memory); err != nil {
		fmt.Fprintf(os.Stderr, "no snapshot is made: %v\n", err)
		return nil
	}
	return m.QueueStart(ctx, unit)
}

// spareMemory is the memory in bytes that must remain available while a snapshot is made, in addition to
// that of its guest, of which QEMU touches every page.
const spareMemory = 1 << 30

func checkRoom(store snapshot.Store, memory uint64) error {
	if err := store.HasRoom(); err != nil {
		return err
	}
	available, err := preflight.MemoryInfo("MemAvailable")
	if err == nil && available < memory+spareMemory {
		err = fmt.Errorf("it needs %d MB of memory, and %d MB are available", (memory+spareMemory)>>20, available>>20)
	}
	return err
}
