package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// This file checks the installed files and what the user manager has loaded.

// checkTimeout limits the time for all checks: programs may hang, and file servers may be
// unreachable.
const checkTimeout = 5 * time.Second

// host is the input of the checks.
type host struct {
	manager  *manager.Manager // nil without a connection
	err      error            // why manager is nil
	files    vmfile.Set
	tree     dropin.Tree      // drop-ins that the generator creates for files
	managed  bool             // Home Manager has written tree
	fileErrs []*failure.Error // errors in files
	filesErr error            // why files could not be read
	paths    instance.Paths
	// Defined in the environment of the units only.
	qemu, virtiofsd, guest string
}

// probeID is the id that is used to load the units and look at them. It is the id of "/",
// which must not be shared, so no VM with this id can run.
const probeID = "-"

// examine reads the .vm files and connects to the user manager. It changes nothing.
func examine(ctx context.Context) *host {
	h := &host{}
	found := make(chan *host, 1)
	go func() { found <- readFiles() }()
	select {
	case h = <-found:
	case <-time.After(checkTimeout / 4):
		h.filesErr = errors.New("timed out reading the .vm files")
	}
	type result struct {
		manager *manager.Manager
		err     error
	}
	dialled := make(chan result, 1)
	go func() {
		m, err := manager.Dial(ctx)
		dialled <- result{m, err}
	}()
	select {
	case r := <-dialled:
		h.manager, h.err = r.manager, r.err
	case <-time.After(checkTimeout / 4): // the bus accepts connections and never replies
		h.err = fmt.Errorf("%w: no reply", manager.ErrNoManager)
	}
	if h.err != nil {
		h.manager = nil
		h.err = failure.New(failure.HostUnable, "log in as yourself (ssh, machinectl shell), not with su or sudo", "%w", h.err)
	}
	h.readSettings(ctx)
	return h
}

func readFiles() *host {
	h := &host{}
	paths, err := instance.HostPaths()
	if h.filesErr = err; err == nil {
		h.paths = paths
		h.files = vmfile.Load(vmfile.SearchPath(paths), paths)
		h.tree, h.fileErrs = dropin.Build(h.files, paths)
		h.fileErrs = append(h.files.Errors, h.fileErrs...)
		h.managed = homeManagerWrote(h.tree, paths)
	}
	return h
}

func (h *host) close() {
	if h.manager != nil {
		h.manager.Close()
	}
}

// readSettings reads the paths of programs and bundle from the loaded setup unit or, if it
// is not loaded, from the file that the first start would link.
func (h *host) readSettings(ctx context.Context) {
	env := map[string]string{}
	if h.manager != nil {
		env, _ = h.manager.ServiceEnvironment(ctx, instance.Setup.Unit(probeID))
	}
	if env["QEMU"] == "" {
		env = preflight.FileEnvironment(filepath.Join(preflight.OwnUnits(), instance.Setup.Unit("")))
	}
	h.qemu, h.virtiofsd = cmp.Or(env["QEMU"], preflight.QEMUProgram), cmp.Or(env["VIRTIOFSD"], "virtiofsd")
	h.guest = env["GUEST"]
}

var errNoManager = errors.New("unknown without the user manager")

func checkManager(_ context.Context, h *host) (string, error) {
	if h.err != nil {
		return "", h.err
	}
	v, err := h.manager.Version()
	return "systemd " + v, err
}

const reloadUnits = "systemctl --user daemon-reload"

// checkUnits checks that all units are loaded, have this program's version, and run a program
// that exists.
func checkUnits(ctx context.Context, h *host) (string, error) {
	if h.manager == nil {
		return "", errNoManager
	}
	dir, unknown := "", 0
	var worst error
	files := instance.UnitFiles()
	for i, name := range append(instance.Units(probeID), instance.SnapshotUnit(probeID), instance.Slice) {
		template := files[i]
		u, err := h.manager.Unit(ctx, name)
		if err != nil {
			return "", err
		}
		if u.LoadState == "not-found" || u.LoadState == "loaded" && u.Fragment == "" { // a slice without a file is loaded, too
			unknown++
			err = failure.New(failure.HostUnable, preflight.FixUnits(), "the user manager cannot find %s", template)
		} else {
			err = h.checkUnit(ctx, u, template)
		}
		if worst == nil || preflight.IsWarning(worst) && err != nil && !preflight.IsWarning(err) {
			worst = err
		}
		dir = filepath.Dir(u.Fragment)
	}
	if beside := preflight.OwnUnits(); unknown == len(files) && beside != "" {
		return "not installed; the first start links the units in " + beside + " until logout", nil
	}
	return fmt.Sprintf("version %s, in %s", version, dir), worst
}

func (h *host) checkUnit(ctx context.Context, u manager.Unit, template string) error {
	switch u.LoadState {
	case "loaded":
	case "masked":
		return failure.New(failure.HostUnable, "systemctl --user unmask "+template, "%s is masked", template)
	default:
		return failure.New(failure.HostUnable, "systemctl --user status "+failure.Command(u.Name), "%s cannot be loaded: %s", template, u.LoadState)
	}
	if strings.HasSuffix(template, ".service") {
		program, err := h.manager.Program(ctx, u.Name)
		if err != nil {
			return err
		}
		if preflight.IsMissing(program) {
			return failure.New(failure.HostUnable, preflight.FixUnits(), "%s runs %s, which does not exist", template, program)
		}
	}
	if u.Stale {
		return preflight.Warn(reloadUnits, "%s has changed since the user manager read it", template)
	}
	if theirs := preflight.UnitVersion(u.Fragment); theirs != version {
		fix := preflight.FixUnits()
		if _, err := os.Readlink(u.Fragment); err == nil {
			fix = "claude-vm-ctl uninstall; the next start links the current units"
		}
		return preflight.Warn(fix, "%s is version %s, claude-vm-ctl is version %s", u.Fragment, theirs, version)
	}
	return nil
}

// checkGenerator checks that the generator is installed or not needed, and that the drop-ins
// match the .vm files.
func checkGenerator(ctx context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	dir := h.paths.DataUnits()
	written, err := dropin.Written(dir)
	if err != nil {
		return "", err
	}
	const generate = "claude-vm-ctl generate"
	path, found := preflight.FindGenerator()
	if !found {
		switch {
		case h.managed && len(written) > 0:
			return "", preflight.Warn(generate, "files that claude-vm-ctl generate wrote before Home Manager did are left over: %s", written[0])
		case h.managed:
			return "not installed; the drop-ins written by Home Manager match the .vm files", nil
		case len(written) != len(h.tree) || !h.tree.IsIn(dir):
			return "", preflight.Warn(generate, "not installed, and the drop-ins in %s do not match the .vm files", dir)
		case len(h.tree) == 0:
			return "not installed; no .vm file needs it", nil
		}
		return "not installed; the drop-ins written by claude-vm-ctl generate match the .vm files", nil
	}
	theirs, err := preflight.ProgramVersion(ctx, path)
	switch {
	case err != nil:
		return "", err
	case theirs != version:
		return "", preflight.Warn(preflight.FixUnits(), "%s is version %s, claude-vm-ctl is version %s", path, theirs, version)
	case len(written) > 0:
		return "", preflight.Warn(generate, "files that claude-vm-ctl generate wrote before the generator was installed are left over: %s", written[0])
	case h.manager != nil && !h.tree.IsIn(filepath.Join(h.paths.Runtime, "systemd/generator")):
		return "", preflight.Warn(reloadUnits, "the .vm files have changed since the user manager read them")
	}
	return fmt.Sprintf("version %s, %s", version, path), nil
}

// checkFiles returns the first error in the .vm files. It is a warning if it affects one VM,
// and a failure if it prevents all VMs from starting.
func checkFiles(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	if len(h.fileErrs) == 0 {
		return fmt.Sprintf("%d, no errors", len(h.files.VMs)), nil
	}
	text := h.fileErrs[0].Error()
	if n := len(h.fileErrs); n > 1 {
		text += fmt.Sprintf(" (the first of %d errors)", n)
	}
	file := h.fileErrs[0].File
	if h.files.Defaults.Refusal == "" {
		return "", preflight.Warn(vmfile.FixCommand(file), "%s", text)
	}
	return "", failure.New(failure.HostUnable, vmfile.FixCommand(file), "%s", text)
}
