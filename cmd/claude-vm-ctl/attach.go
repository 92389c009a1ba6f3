package main

import (
	"context"

	"github.com/alecthomas/kingpin/v2"
)

type attachVerb struct{ dir string }

func (a *attachVerb) register(app *kingpin.Application) string {
	cmd := app.Command("attach", "Attach to Claude's terminal in a running VM. Press Ctrl-] three times within a second to leave it.")
	describe(cmd, "", "attach ~/src/web")
	directoryArg(cmd, &a.dir)
	return cmd.FullCommand()
}

func (a *attachVerb) run(ctx context.Context, out *output) (int, error) {
	v, u, err := open(ctx, a.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	if !u.Running() {
		return 0, v.notRunning()
	}
	if s, err := v.network(ctx, nil); err == nil && len(s.Requests) > 0 {
		out.note("requests of the guest: %d; see claude-vm-ctl network%s", len(s.Requests), v.hintArg())
	}
	return v.join(ctx, out, u, false)
}
