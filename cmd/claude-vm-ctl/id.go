package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

type idVerb struct {
	dir  string
	unit bool
}

func (i *idVerb) register(app *kingpin.Application) string {
	cmd := app.Command("id", "Print the id of a directory's VM: its escaped path.")
	describe(cmd, "", "id ~/src/web", "id --unit")
	directoryArg(cmd, &i.dir)
	cmd.Flag("unit", "Print the name of the VM's unit instead, for systemctl.").BoolVar(&i.unit)
	return cmd.FullCommand()
}

func (i *idVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := hostPaths()
	if err != nil {
		return 0, noManager(err)
	}
	id, _, err := find(paths, i.dir)
	if err != nil {
		return 0, err
	}
	if i.unit {
		id = instance.VM.Unit(id)
	}
	_, err = fmt.Fprintln(out.stdout, id)
	return 0, err
}
