package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

type uninstallVerb struct{ stop bool }

func (u *uninstallVerb) register(app *kingpin.Application) string {
	cmd := app.Command("uninstall", "Remove the units, links and drop-ins that claude-vm-ctl has created.")
	describe(cmd, "", "uninstall --stop")
	cmd.Flag("stop", "Stop running VMs first.").BoolVar(&u.stop)
	return cmd.FullCommand()
}

func (u *uninstallVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	m, err := manager.Dial(ctx)
	if err != nil {
		return 0, noManager(err)
	}
	defer m.Close()
	if u.stop {
		if err := stopAll(ctx, m, paths); err != nil {
			return 0, err
		}
	}
	running, err := m.Active(ctx, instance.VM.Unit("*"))
	if err != nil {
		return 0, err
	}
	if len(running) > 0 {
		return 0, failure.New(failure.Failed, "claude-vm-ctl uninstall --stop", "a VM is running on %s%s", directoryOf(running[0]), andMore(len(running)-1))
	}
	making, err := m.Active(ctx, instance.SnapshotUnit("*"))
	if err != nil {
		return 0, err
	}
	for _, unit := range making {
		if _, err := m.Stop(ctx, unit); err != nil {
			return 0, err
		}
	}
	removed, err := removeCreated(paths)
	for _, path := range removed {
		fmt.Fprintln(out.stdout, "removed", failure.OneLine(path))
	}
	if err != nil {
		return 0, err
	}
	if len(removed) > 0 {
		if err := errors.Join(m.ResetFailedAll(ctx, instance.Patterns()...), m.Reload(ctx)); err != nil {
			return 0, err
		}
	}
	return 0, printKept(ctx, out, m, paths)
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}

// stopAll stops all VMs in parallel and waits until they have stopped.
func stopAll(ctx context.Context, m *manager.Manager, paths instance.Paths) error {
	units, err := m.Active(ctx, instance.VM.Unit("*"))
	if err != nil {
		return err
	}
	errs := make([]error, len(units))
	var stops sync.WaitGroup
	for i, unit := range units {
		v := &target{paths: paths, id: instance.UnitID(unit), manager: m}
		stops.Go(func() {
			if _, errs[i] = m.Stop(ctx, unit); errs[i] == nil {
				_, errs[i] = v.awaitGone(ctx)
			}
		})
	}
	stops.Wait()
	return errors.Join(errs...)
}

// removeCreated removes the links to units, the overrides of runs that were killed, and the output
// of generate. Files of a package or of "make install" are not removed.
func removeCreated(paths instance.Paths) (removed []string, err error) {
	removed, err = unlink(paths.RuntimeUnits(), "")
	if err != nil {
		return removed, err
	}
	overrides, err := dropin.OverridesIn(paths.RuntimeUnits())
	if err != nil {
		return removed, err
	}
	for _, path := range overrides {
		if err := os.Remove(path); err != nil {
			return removed, failure.Plain(err)
		}
		os.Remove(filepath.Dir(path)) // fails unless empty
		removed = append(removed, path)
	}
	snapshots := paths.Snapshots()
	if entries, err := os.ReadDir(string(snapshots)); err == nil && len(entries) > 0 {
		removed = append(removed, string(snapshots))
	}
	if err := snapshots.RemoveAll(); err != nil {
		return removed, failure.Plain(err)
	}
	dir := paths.DataUnits()
	written, err := dropin.Written(dir)
	if err != nil {
		return removed, err
	}
	if err := dropin.Clear(dir); err != nil {
		return removed, failure.Plain(err)
	}
	// os.Remove fails for directories that are not empty.
	for _, dir := range []string{dir, filepath.Dir(dir), filepath.Join(paths.Runtime, "claude-vm"), filepath.Dir(paths.GuardFile("-")), paths.StateFiles()} {
		os.Remove(dir)
	}
	return append(removed, written...), nil
}

// printKept prints which files remain and how to remove them.
func printKept(ctx context.Context, out *output, m *manager.Manager, paths instance.Paths) error {
	kept := func(path, what string) {
		if _, err := os.Stat(path); err == nil {
			fmt.Fprintf(out.stdout, "kept %s: %s\n", failure.OneLine(path), what)
		}
	}
	kept(paths.ConfigFiles(), "settings")
	for _, kind := range []string{"project", "user"} {
		kept(filepath.Join(paths.StateFiles(), kind), "home directories of Claude")
	}
	kept(filepath.Dir(paths.GuardFile("-")), "changes of VMs that you have not accepted; see claude-vm-ctl guard")
	if len(guestHints()) > 0 {
		kept(paths.GuestDirectories()[0], "guests")
	}
	kept(paths.ClaudeCodeDirectory(), "Claude Code of guest update")
	u, err := m.Unit(ctx, instance.VM.Unit(probeID))
	if err != nil {
		return err
	}
	if u.LoadState == "loaded" {
		kept(u.Fragment, "installed; make uninstall or the package manager removes it")
	}
	return nil
}
