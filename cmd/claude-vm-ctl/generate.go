package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/unittree"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

type generateVerb struct{ dryRun bool }

func (g *generateVerb) register(app *kingpin.Application) string {
	cmd := app.Command("generate", "Make the user manager know what the .vm files say.")
	cmd.Flag("dry-run", "Print what would be written.").BoolVar(&g.dryRun)
	return cmd.FullCommand()
}

func (g *generateVerb) run(ctx context.Context, out *output) (int, error) {
	s, err := vmfile.Environment()
	if err != nil {
		return 0, err
	}
	tree, errs := build(s)
	if g.dryRun {
		err = tree.Print(out.stdout)
		return out.faults(errs), err
	}
	m, err := manager.Dial(ctx)
	if err != nil {
		return 0, noManager(err)
	}
	defer m.Close()
	if err := install(ctx, m, tree); err != nil {
		return 0, err
	}
	return out.faults(errs), nil
}

// build makes the tree of all .vm files.
func build(s vmfile.Specifiers) (unittree.Tree, []*unitfile.Error) {
	set := vmfile.Load(vmfile.SearchPath(s), s)
	tree, errs := unittree.Build(set, s.Instances())
	return tree, append(set.Errors, errs...)
}

// install makes the manager know the tree. Where it calls the generator itself,
// that is a reload; elsewhere the tree is written where a home may have units.
func install(ctx context.Context, m *manager.Manager, t unittree.Tree) error {
	if _, found := findGenerator(); found {
		t = nil // and what was written before the generator was installed goes
	}
	dir, err := dataUnits()
	if err != nil {
		return err
	}
	if err := unittree.Replace(dir, t); err != nil {
		return err
	}
	return m.Reload(ctx)
}

// dataUnits is the directory of units that is a home's, but not for people. As
// with a generator's, what is below ~/.config comes before it.
func dataUnits() (string, error) {
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		data = filepath.Join(home, ".local/share")
	}
	return filepath.Join(data, "systemd/user"), nil
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
func (o *output) faults(errs []*unitfile.Error) int {
	for _, e := range errs {
		fmt.Fprintln(o.stderr, oneLine(e.Error()))
		if e.Hint != "" {
			fmt.Fprintln(o.stderr, "\thint: "+oneLine(e.Hint))
		}
	}
	return min(len(errs), exitFailure)
}
