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
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// This file looks at what is installed, and at what the user manager knows of it.

// host is what the checks look at.
type host struct {
	manager  *manager.Manager // nil without one
	err      error            // then why
	files    vmfile.Set
	tree     dropin.Tree // that they make
	built    bool        // and that is there, written by somebody else
	faults   []*failure.Error
	filesErr error
	paths    instance.Paths
	// What the units say: their files are the only place that knows.
	qemu, virtiofsd, guest string
}

// noInstance is the id of a unit that is looked at and never started: its
// directory is refused.
const noInstance = "-"

// examine reads the .vm files and asks the user manager, and changes nothing.
func examine(ctx context.Context) *host {
	h := &host{}
	found := make(chan *host, 1)
	go func() { found <- readFiles() }()
	select {
	case h = <-found:
	case <-time.After(patience / 4):
		h.filesErr = errors.New("the .vm files cannot be read in time")
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
	case <-time.After(patience / 4): // a bus that accepts and is silent
		h.err = fmt.Errorf("%w: it is silent", manager.ErrNoManager)
	}
	if h.err != nil {
		h.manager = nil
		h.err = failure.New(failure.HostUnable, "log in as yourself (ssh, machinectl shell), not by su or sudo", "%w", h.err)
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
		h.tree, h.faults = dropin.Build(h.files, paths)
		h.faults = append(h.files.Errors, h.faults...)
		h.built = isBuilt(h.tree, paths)
	}
	return h
}

func (h *host) close() {
	if h.manager != nil {
		h.manager.Close()
	}
}

// readSettings takes them from the unit that is in force, or else from the file
// that would be.
func (h *host) readSettings(ctx context.Context) {
	env := map[string]string{}
	if h.manager != nil {
		env, _ = h.manager.ServiceEnvironment(ctx, instance.Setup.Unit(noInstance))
	}
	if env["QEMU"] == "" {
		env = fileEnvironment(filepath.Join(unitsBeside(), instance.Setup.Unit("")))
	}
	h.qemu, h.virtiofsd = cmp.Or(env["QEMU"], preflight.QEMUProgram), cmp.Or(env["VIRTIOFSD"], "virtiofsd")
	h.guest = env["GUEST"]
}

// fileEnvironment is the Environment= of a unit file; without one, nothing.
func fileEnvironment(file string) map[string]string {
	env := map[string]string{}
	text, _ := os.ReadFile(file)
	parsed, _ := unitfile.Parse(file, text)
	for _, e := range parsed.Entries {
		words, _ := unitfile.Split(e.Value)
		for _, word := range words {
			if name, value, found := strings.Cut(word, "="); found && e.Key == "Environment" {
				env[name] = value
			}
		}
	}
	return env
}

var errNoManager = errors.New("cannot be told without the user manager")

func checkManager(_ context.Context, h *host) (string, error) {
	if h.err != nil {
		return "", h.err
	}
	v, err := h.manager.Version()
	return "systemd " + v, err
}

const reloadUnits = "systemctl --user daemon-reload"

// checkUnits wants all units there, of one version, with their program.
func checkUnits(ctx context.Context, h *host) (string, error) {
	if h.manager == nil {
		return "", errNoManager
	}
	dir, unknown := "", 0
	var worst error
	files := instance.UnitFiles()
	for i, name := range append(instance.Units(noInstance), instance.Slice) {
		template := files[i]
		u, err := h.manager.Unit(ctx, name)
		if err != nil {
			return "", err
		}
		if u.LoadState == "not-found" || u.LoadState == "loaded" && u.Fragment == "" { // slices need no file
			unknown++
			err = failure.New(failure.HostUnable, preflight.FixUnits(), "the user manager does not know %s", template)
		} else {
			err = h.checkUnit(ctx, u, template)
		}
		if worst == nil || preflight.IsWarning(worst) && err != nil && !preflight.IsWarning(err) {
			worst = err
		}
		dir = filepath.Dir(u.Fragment)
	}
	if beside := unitsBeside(); unknown == len(files) && beside != "" {
		return "not installed; the first start links those in " + beside + " for this login", nil
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
		if missing(program) {
			return failure.New(failure.HostUnable, preflight.FixUnits(), "%s calls %s, which is not there", template, program)
		}
	}
	if u.Stale {
		return preflight.Warn(reloadUnits, "%s has changed since it was read", template)
	}
	if theirs := unitVersion(u.Fragment); theirs != version {
		mend := preflight.FixUnits()
		if _, err := os.Readlink(u.Fragment); err == nil {
			mend = "claude-vm-ctl uninstall: the next start links others"
		}
		return preflight.Warn(mend, "%s is of version %s, claude-vm-ctl of %s", u.Fragment, theirs, version)
	}
	return nil
}

// checkGenerator looks at what reads the .vm files, and whether it has read them as
// they are now.
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
	path, found := findGenerator()
	if !found {
		switch {
		case h.built && len(written) > 0:
			return "", preflight.Warn(generate, "what claude-vm-ctl generate has written before Home Manager did is left: %s", written[0])
		case h.built:
			return "not installed; Home Manager has written what the .vm files say", nil
		case len(written) != len(h.tree) || !h.tree.IsIn(dir):
			return "", preflight.Warn(generate, "not installed, and what is in %s is not what the .vm files say", dir)
		case len(h.tree) == 0:
			return "not installed; there is no .vm file that needs it", nil
		}
		return "not installed; claude-vm-ctl generate has written what the .vm files say", nil
	}
	theirs, err := preflight.ProgramVersion(ctx, path)
	switch {
	case err != nil:
		return "", err
	case theirs != version:
		return "", preflight.Warn(preflight.FixUnits(), "%s is of version %s, claude-vm-ctl of %s", path, theirs, version)
	case len(written) > 0:
		return "", preflight.Warn(generate, "what claude-vm-ctl generate has written before it was installed is left: %s", written[0])
	case h.manager != nil && !h.tree.IsIn(filepath.Join(h.paths.Runtime, "systemd/generator")):
		return "", preflight.Warn(reloadUnits, "the user manager has not read the .vm files as they are now")
	}
	return fmt.Sprintf("version %s, %s", version, path), nil
}

// checkFiles tells the first fault of the .vm files; its VM does not start, or, if
// it is for all, none does.
func checkFiles(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	if len(h.faults) == 0 {
		return fmt.Sprintf("%d, and no fault", len(h.files.VMs)), nil
	}
	text := h.faults[0].Error()
	if n := len(h.faults); n > 1 {
		text += fmt.Sprintf(" (the first of %d faults)", n)
	}
	file := h.faults[0].File
	if h.files.Defaults.Refusal == "" {
		return "", preflight.Warn(vmfile.FixCommand(file), "%s", text)
	}
	return "", failure.New(failure.HostUnable, vmfile.FixCommand(file), "%s", text)
}

func checkBundle(_ context.Context, h *host) (string, error) {
	if h.guest == "" {
		return "", errors.New("the units, which say where it is, are not to be found")
	}
	return preflight.BundleAge(h.guest)
}

func checkRuntime(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	return preflight.RuntimeDirectory(h.paths.Runtime)
}

// checkMemory holds what VMs may take against what there is. The kernel gives it
// to them as they use it.
func checkMemory(ctx context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	total, err := preflight.MemoryInfo("MemTotal")
	if err != nil {
		return "", err
	}
	running, err := h.runningMemory(ctx)
	if err != nil {
		return "", err
	}
	all := running
	for _, v := range h.files.VMs {
		all[v.WorkDirectory] = max(all[v.WorkDirectory], v.Memory)
	}
	sum, another := uint64(0), h.files.Defaults.Memory
	for _, n := range all {
		sum += n
	}
	fact := fmt.Sprintf("%s; VMs that run or have a file take up to %s, another one %s", size.Format(total), size.Format(sum), size.Format(another))
	if max(sum, another) > total {
		return "", preflight.Warn("claude-vm-ctl edit --defaults, and set Memory=", "%s", fact)
	}
	return fact, nil
}

// runningMemory returns the memory of the VMs that run, by directory, in bytes.
func (h *host) runningMemory(ctx context.Context) (map[string]uint64, error) {
	found := map[string]uint64{}
	if h.manager == nil {
		return found, nil
	}
	units, err := h.manager.Active(ctx, instance.VM.Unit("*"))
	if err != nil {
		return nil, err
	}
	for _, unit := range units {
		if record, err := h.paths.ReadRecord(instance.UnitID(unit)); err == nil {
			found[directoryOf(unit)] = record.Settings.Memory
		}
	}
	return found, nil
}
