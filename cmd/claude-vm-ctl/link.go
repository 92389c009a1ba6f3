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
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// This file sees to it that the user manager knows our units. A program that runs
// from a build or store directory has them beside it and links them for this login.

// ensureUnits makes the manager know our units, of which u is the VM's, and tells a person of those that
// are another version's. Links to another build's are replaced unless a VM runs.
func (v *target) ensureUnits(ctx context.Context, out *output, u manager.Unit) error {
	dir, beside := v.paths.RuntimeUnits(), unitsBeside()
	switch u.LoadState {
	case "loaded":
		if filepath.Dir(u.Fragment) != dir {
			return v.checkFit(ctx, out, u)
		}
		if beside != "" && !isLinked(beside, dir) {
			if running, err := v.manager.Active(ctx, instance.VM.Unit("*")); err != nil || len(running) > 0 {
				return errors.Join(err, v.checkFit(ctx, out, u))
			}
			break
		}
		if u.Stale { // built anew since
			if err := v.manager.Reload(ctx); err != nil {
				return err
			}
		}
		return v.checkFit(ctx, out, u)
	case "not-found":
		if beside == "" {
			return failure.New(failure.HostUnable, preflight.FixUnits(), "the user manager does not know %s, nor is it beside claude-vm-ctl", instance.VM.Unit(""))
		}
	case "masked":
		return failure.New(failure.HostUnable, "systemctl --user unmask "+failure.Command(u.Name), "%s is masked", u.Name)
	default:
		return failure.New(failure.HostUnable, "systemctl --user status "+failure.Command(u.Name), "%s cannot be loaded: %s", u.Name, u.LoadState)
	}
	if err := v.link(ctx, beside, dir); err != nil {
		return err
	}
	return v.manager.Ref(ctx, v.unit()) // open could not
}

// link makes links in dir to the units of another directory, in place of those
// that are there. What the manager finds anyway needs none.
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
		if err != nil && !errors.Is(err, os.ErrExist) { // ours, or what somebody else has put there
			return err
		}
	}
	return v.manager.Reload(ctx)
}

// isLinked says whether dir has links to the units of another directory, but for
// what somebody else has put in their place.
func isLinked(from, dir string) bool {
	for _, name := range instance.UnitFiles() {
		target, err := os.Readlink(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) || isLink(target, name) && target != filepath.Join(from, name) {
			return false
		}
	}
	return true
}

// isLink says whether the target of a link of this name is one of link's: there
// are masks, too.
func isLink(target, name string) bool { return filepath.Base(target) == name }

// unlink removes the links that link has made, also those that lead nowhere now,
// except those to one directory.
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

// unitsBeside is the directory of units that belongs to the running program, as
// make install and make vm lay them out; empty if there is none.
func unitsBeside() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	for _, name := range []string{"lib", "share"} {
		dir := filepath.Join(filepath.Dir(filepath.Dir(self)), name, "systemd/user")
		if _, err := os.Stat(filepath.Join(dir, instance.VM.Unit(""))); err == nil {
			return dir
		}
	}
	return ""
}

// checkFit says when the units are of another version than this program, and
// refuses those that call one which is gone: systemd would not say why.
func (v *target) checkFit(ctx context.Context, out *output, u manager.Unit) error {
	program, err := v.manager.Program(ctx, instance.Setup.Unit(v.id))
	if err != nil {
		return err
	}
	if missing(program) {
		return failure.New(failure.HostUnable, preflight.FixUnits(), "%s calls %s, which is not there", instance.Setup.Unit(""), program)
	}
	if theirs := unitVersion(u.Fragment); theirs != version {
		out.note("warning: the units in %s are of version %s, this is %s; see claude-vm-ctl doctor", filepath.Dir(u.Fragment), theirs, version)
	}
	return nil
}

// missing says whether a unit's program is not there. One without a path systemd
// finds by itself.
func missing(program string) bool {
	_, err := os.Stat(program)
	return filepath.IsAbs(program) && errors.Is(err, os.ErrNotExist)
}

// unitVersion is the version that a unit file was installed with.
func unitVersion(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	parsed, _ := unitfile.Parse(file, text)
	for _, e := range parsed.Entries {
		if e.Key == "X-Version" {
			return e.Value
		}
	}
	return "unknown" // before units had one
}
