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

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/unittree"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// This file looks at what is installed, and at what the user manager knows of it.

// host is what the checks look at.
type host struct {
	manager  *manager.Manager // nil without one
	err      error            // then why
	files    vmfile.Set
	tree     unittree.Tree // that they make
	built    bool          // and that is there, written by somebody else
	faults   []*unitfile.Error
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
		h.err = &trouble{error: h.err, mend: "log in as yourself (ssh, machinectl shell), not by su or sudo"}
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
		h.tree, h.faults = unittree.Build(h.files, paths)
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
		env, _ = h.manager.Environment(ctx, instance.Setup.Unit(noInstance))
	}
	if env["QEMU"] == "" {
		env = fileEnvironment(filepath.Join(unitsBeside(), instance.Setup.Unit("")))
	}
	h.qemu, h.virtiofsd = cmp.Or(env["QEMU"], qemuProgram), cmp.Or(env["VIRTIOFSD"], "virtiofsd")
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
			err = &trouble{error: fmt.Errorf("the user manager does not know %s", template), mend: mendUnits()}
		} else {
			err = h.checkUnit(ctx, u, template)
		}
		if worst == nil || isWarning(worst) && err != nil && !isWarning(err) {
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
		return &trouble{error: fmt.Errorf("%s is masked", template), mend: "systemctl --user unmask " + template}
	default:
		return &trouble{error: fmt.Errorf("%s cannot be loaded: %s", template, u.LoadState), mend: "systemctl --user status " + shellQuote(u.Name)}
	}
	if strings.HasSuffix(template, ".service") {
		program, err := h.manager.Program(ctx, u.Name)
		if err != nil {
			return err
		}
		if missing(program) {
			return &trouble{error: fmt.Errorf("%s calls %s, which is not there", template, program), mend: mendUnits()}
		}
	}
	if u.Stale {
		return &trouble{error: fmt.Errorf("%s has changed since it was read", template), mend: reloadUnits, warn: true}
	}
	if theirs := unitVersion(u.Fragment); theirs != version {
		mend := mendUnits()
		if _, err := os.Readlink(u.Fragment); err == nil {
			mend = "claude-vm-ctl uninstall: the next start links others"
		}
		return &trouble{error: fmt.Errorf("%s is of version %s, claude-vm-ctl of %s", u.Fragment, theirs, version), mend: mend, warn: true}
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
	written, err := unittree.Written(dir)
	if err != nil {
		return "", err
	}
	generate := &trouble{mend: "claude-vm-ctl generate", warn: true}
	path, found := findGenerator()
	if !found {
		switch {
		case h.built && len(written) > 0:
			generate.error = fmt.Errorf("what claude-vm-ctl generate has written before Home Manager did is left: %s", written[0])
			return "", generate
		case h.built:
			return "not installed; Home Manager has written what the .vm files say", nil
		case len(written) != len(h.tree) || !h.tree.IsIn(dir):
			generate.error = fmt.Errorf("not installed, and what is in %s is not what the .vm files say", dir)
			return "", generate
		case len(h.tree) == 0:
			return "not installed; there is no .vm file that needs it", nil
		}
		return "not installed; claude-vm-ctl generate has written what the .vm files say", nil
	}
	theirs, err := programVersion(ctx, path)
	switch {
	case err != nil:
		return "", err
	case theirs != version:
		return "", &trouble{error: fmt.Errorf("%s is of version %s, claude-vm-ctl of %s", path, theirs, version), mend: mendUnits(), warn: true}
	case len(written) > 0:
		generate.error = fmt.Errorf("what claude-vm-ctl generate has written before it was installed is left: %s", written[0])
		return "", generate
	case h.manager != nil && !h.tree.IsIn(filepath.Join(h.paths.Runtime, "systemd/generator")):
		return "", &trouble{error: errors.New("the user manager has not read the .vm files as they are now"), mend: reloadUnits, warn: true}
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
	edit := "claude-vm-ctl edit " + shellQuote(strings.TrimSuffix(filepath.Base(file), vmfile.Suffix))
	return "", &trouble{error: errors.New(text), mend: mendFile(file, edit), warn: h.files.Defaults.Refusal == ""}
}
