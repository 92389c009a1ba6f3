package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

type generateVerb struct{ dryRun bool }

func (g *generateVerb) register(app *kingpin.Application) string {
	cmd := app.Command("generate", "Make the user manager know what the .vm files say.")
	cmd.Flag("dry-run", "Print what would be written.").BoolVar(&g.dryRun)
	return cmd.FullCommand()
}

func (g *generateVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	if g.dryRun {
		tree, errs := build(paths)
		err = tree.Print(out.stdout)
		return out.faults(errs), err
	}
	m, err := manager.Dial(ctx)
	if err != nil {
		return 0, noManager(err)
	}
	defer m.Close()
	errs, err := install(ctx, m, paths)
	if err != nil {
		return 0, err
	}
	return out.faults(errs), nil
}

// build makes the tree of all .vm files.
func build(paths instance.Paths) (dropin.Tree, []*failure.Error) {
	set := vmfile.Load(vmfile.SearchPath(paths), paths)
	tree, errs := dropin.Build(set, paths)
	return tree, append(set.Errors, errs...)
}

// install makes the manager know what the files say. Where it calls the generator
// itself, that is a reload; elsewhere the tree is written where a home may have
// units. What the manager then knows must be what the files say here.
func install(ctx context.Context, m *manager.Manager, paths instance.Paths) ([]*failure.Error, error) {
	dir := paths.DataUnits()
	if _, found := findGenerator(); found {
		if err := dropin.Clear(dir); err != nil { // of before it was installed
			return nil, err
		}
		if err := m.Reload(ctx); err != nil {
			return nil, err
		}
		tree, errs := build(paths)
		if !tree.IsIn(filepath.Join(paths.Runtime, "systemd/generator")) {
			return errs, elsewhere("the generator of the user manager reads other files than those here")
		}
		return errs, nil
	}
	path, err := m.UnitPath()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(path, dir) {
		return nil, elsewhere("the user manager does not look for units in " + dir)
	}
	if tree, errs := build(paths); isBuilt(tree, paths) {
		if err := dropin.Clear(dir); err != nil {
			return nil, err
		}
		return errs, m.Reload(ctx)
	}
	var errs []*failure.Error
	err = dropin.Replace(dir, func() (t dropin.Tree, _ error) {
		t, errs = build(paths)
		return t, nil
	})
	if err != nil {
		return nil, err
	}
	return errs, m.Reload(ctx)
}

// isBuilt says whether somebody else, as Home Manager, has put all of a tree where
// people have units.
func isBuilt(t dropin.Tree, paths instance.Paths) bool {
	return len(t) > 0 && t.IsIn(filepath.Join(paths.Config, "systemd/user"))
}

// elsewhere is the error of a shell whose HOME or XDG_ variables, by which files
// are found, are not the manager's.
func elsewhere(what string) error {
	return failure.New(failure.Failed, "systemctl --user show-environment", "%s: HOME or one of XDG_* is not what it is there", what)
}

// findGenerator finds ours where user managers look for generators, of which the
// first of a name counts; a link to /dev/null masks it.
func findGenerator() (string, bool) {
	for _, prefix := range []string{"/run", "/etc", "/usr/local/lib", "/usr/lib"} {
		path := filepath.Join(prefix, "systemd/user-generators/claude-vm-generator")
		if _, err := os.Lstat(path); err == nil {
			_, err = exec.LookPath(path)
			return path, err == nil
		}
	}
	return "", false
}

// faults tells those of files, and gives the exit status.
func (o *output) faults(errs []*failure.Error) int {
	for _, e := range errs {
		fmt.Fprintln(o.stderr, failure.OneLine(e.Error()))
		if e.Hint != "" {
			fmt.Fprintln(o.stderr, "\thint: "+failure.OneLine(e.Hint))
		}
	}
	return min(len(errs), failure.Failed)
}
