package main

import (
	"context"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/step"
)

// unitVerb runs a step for the unit files. It is hidden, because users do not need it.
type unitVerb struct {
	step string
	args []string
}

func (u *unitVerb) register(app *kingpin.Application) string {
	cmd := app.Command("unit", "For the unit files.").Hidden()
	cmd.Arg("step", "").Required().StringVar(&u.step)
	return cmd.FullCommand()
}

func (u *unitVerb) arguments(args []string) { u.args = args }

func (u *unitVerb) run(ctx context.Context, _ *output) (int, error) {
	return step.Run(ctx, u.step, u.args)
}
