package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

type generateVerb struct{ dryRun bool }

func (g *generateVerb) register(app *kingpin.Application) string {
	cmd := app.Command("generate", "Apply the .vm files: make the user manager read them again.")
	describe(cmd, "", "generate", "generate --dry-run")
	cmd.Flag("dry-run", "Print what would be generated, and change nothing.").BoolVar(&g.dryRun)
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
		return out.fileErrors(errs), err
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
	return out.fileErrors(errs), nil
}

// build returns the drop-ins and links for all .vm files, and the errors in the files.
func build(paths instance.Paths) (dropin.Tree, []*failure.Error) {
	set := vmfile.Load(vmfile.SearchPath(paths), paths)
	tree, errs := dropin.Build(set, paths)
	return tree, append(set.Errors, errs...)
}

// install applies the .vm files. If the generator is installed, reloading the manager runs
// it; otherwise install writes the drop-ins to a unit directory in the home directory. It
// fails if the manager's environment differs so that it would not read the same files. It
// returns the errors in the files.
func install(ctx context.Context, m *manager.Manager, paths instance.Paths) ([]*failure.Error, error) {
	dir := paths.DataUnits()
	if _, found := preflight.FindGenerator(); found {
		if err := dropin.Clear(dir); err != nil { // written before the generator was installed
			return nil, err
		}
		if err := m.Reload(ctx); err != nil {
			return nil, err
		}
		tree, errs := build(paths)
		if !tree.IsIn(filepath.Join(paths.Runtime, "systemd/generator")) {
			return errs, environmentDiffers("the user manager's generator reads different .vm files")
		}
		return errs, nil
	}
	path, err := m.UnitPath()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(path, dir) {
		return nil, environmentDiffers("the user manager does not look for units in " + dir)
	}
	if tree, errs := build(paths); homeManagerWrote(tree, paths) {
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

// homeManagerWrote reports whether Home Manager has already written the tree, to the directory of the
// user's own units.
func homeManagerWrote(t dropin.Tree, paths instance.Paths) bool {
	return len(t) > 0 && t.IsIn(filepath.Join(paths.Config, "systemd/user"))
}

// environmentDiffers returns the error for a shell whose HOME or XDG_* variables, which
// determine where files are, differ from the manager's.
func environmentDiffers(what string) error {
	return failure.New(failure.Failed, "systemctl --user show-environment", "%s: HOME or an XDG_* variable differs in the user manager", what)
}

// fileErrors prints errors in .vm files and returns the exit status.
func (o *output) fileErrors(errs []*failure.Error) int {
	for _, e := range errs {
		fmt.Fprintln(o.stderr, failure.OneLine(e.Error()))
		if e.Hint != "" {
			fmt.Fprintln(o.stderr, "\thint: "+failure.OneLine(e.Hint))
		}
	}
	return min(len(errs), failure.Failed)
}
