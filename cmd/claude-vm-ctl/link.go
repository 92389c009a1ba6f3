package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
)

// This file makes the user manager find the units. If they are not installed, it links those
// that belong to the program, in a build directory or the Nix store, until logout.

// ensureUnits makes sure that the manager has loaded the units, and prints a warning if they
// have another version. u is the VM's unit. Links to the units of another build are replaced
// unless a VM is running.
func (v *target) ensureUnits(ctx context.Context, out *output, u manager.Unit) error {
	dir, beside := v.paths.RuntimeUnits(), preflight.OwnUnits()
	switch u.LoadState {
	case "loaded":
		if filepath.Dir(u.Fragment) != dir {
			return v.checkVersion(ctx, out, u)
		}
		if beside != "" && !isLinked(beside, dir) {
			if running, err := v.manager.Active(ctx, instance.VM.Unit("*")); err != nil || len(running) > 0 {
				return errors.Join(err, v.checkVersion(ctx, out, u))
			}
			break
		}
		if u.Stale { // the units were built again
			if err := v.manager.Reload(ctx); err != nil {
				return err
			}
		}
		return v.checkVersion(ctx, out, u)
	case "not-found":
		if beside == "" {
			return failure.New(failure.HostUnable, preflight.FixUnits(), "the user manager cannot find %s, and claude-vm-ctl was not built or installed together with it", instance.VM.Unit(""))
		}
	case "masked":
		return failure.New(failure.HostUnable, "systemctl --user unmask "+failure.Command(u.Name), "%s is masked", u.Name)
	default:
		return failure.New(failure.HostUnable, "systemctl --user status "+failure.Command(u.Name), "%s cannot be loaded: %s", u.Name, u.LoadState)
	}
	if err := v.link(ctx, beside, dir); err != nil {
		return err
	}
	return v.manager.Ref(ctx, v.unit()) // failed in open, where the unit was not found
}

// link replaces the links in dir by links to the units in another directory. It creates no
// links if the manager searches that directory.
func (v *target) link(ctx context.Context, from, dir string) error {
	path, err := v.manager.UnitPath()
	if err != nil {
		return err
	}
	if slices.Contains(path, from) {
		if _, err := unlink(dir, ""); err != nil {
			return err
		}
		return v.manager.Reload(ctx)
	}
	if _, err := unlink(dir, from); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range instance.UnitFiles() {
		err := os.Symlink(filepath.Join(from, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrExist) { // an existing link is correct or was not created by us
			return err
		}
	}
	return v.manager.Reload(ctx)
}

// isLinked reports whether dir has links to all units in another directory. Files that link
// has not created are ignored.
func isLinked(from, dir string) bool {
	for _, name := range instance.UnitFiles() {
		target, err := os.Readlink(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) || isLink(target, name) && target != filepath.Join(from, name) {
			return false
		}
	}
	return true
}

// isLink reports whether link has created a link with this name and target. A masked unit is
// a link, too.
func isLink(target, name string) bool { return filepath.Base(target) == name }

// unlink removes the links that link has created, including broken ones, except links to the
// directory except. It returns their paths.
func unlink(dir, except string) (removed []string, err error) {
	for _, name := range instance.UnitFiles() {
		path := filepath.Join(dir, name)
		target, err := os.Readlink(path)
		if err != nil || !isLink(target, name) || target == filepath.Join(except, name) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return removed, failure.Plain(err)
		}
		removed = append(removed, path)
	}
	return removed, nil
}

// checkVersion prints a warning if the units have another version than this program. It returns
// an error if their program does not exist, because systemd's error would not name it.
func (v *target) checkVersion(ctx context.Context, out *output, u manager.Unit) error {
	program, err := v.manager.Program(ctx, instance.Setup.Unit(v.id))
	if err != nil {
		return err
	}
	if preflight.IsMissing(program) {
		return failure.New(failure.HostUnable, preflight.FixUnits(), "%s runs %s, which does not exist", instance.Setup.Unit(""), program)
	}
	if theirs := preflight.UnitVersion(u.Fragment); theirs != version {
		out.note("warning: the units in %s are version %s, claude-vm-ctl is version %s; see claude-vm-ctl doctor", filepath.Dir(u.Fragment), theirs, version)
	}
	return nil
}
