package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
)

type shellVerb struct {
	dir          string
	root         bool
	forwardAgent bool
	args         []string
}

func (s *shellVerb) register(app *kingpin.Application) string {
	cmd := app.Command("shell", "Open a shell, or run what follows --, in a running VM.")
	describe(cmd, "[-- COMMAND...]", "shell", "shell . -- git diff", "shell --root . -- dmesg")
	directoryArg(cmd, &s.dir)
	cmd.Flag("root", "Run as the guest's root, not as claude.").BoolVar(&s.root)
	cmd.Flag("forward-agent", "Let the command use your SSH agent.").Short('A').BoolVar(&s.forwardAgent)
	return cmd.FullCommand()
}

func (s *shellVerb) arguments(args []string) { s.args = args }

func (s *shellVerb) run(ctx context.Context, out *output) (int, error) {
	var socket string
	if s.forwardAgent {
		var err error
		if socket, err = preflight.AgentSocket(); err != nil {
			return 0, err
		}
	}
	v, _, err := open(ctx, s.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	user := contract.UserClaude
	if s.root {
		user = contract.UserRoot
	}
	client, err := v.dial(ctx, user)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	var words []string
	for _, arg := range s.args {
		words = append(words, failure.Command(arg))
	}
	line := strings.Join(words, " ")
	start := func(session *guest.Session) error {
		if s.forwardAgent {
			if err := session.ForwardAgent(client, socket); err != nil {
				return failure.New(failure.Failed, "claude-vm-ctl logs"+v.hintArg(), "forward the SSH agent: %w", err)
			}
		}
		for _, name := range []string{"COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "NO_COLOR"} {
			if value := os.Getenv(name); value != "" && out.terminal() {
				session.Setenv(name, value)
			}
		}
		err := session.Run(line)
		if errors.Is(err, guest.ErrRejected) {
			err = failure.New(failure.NoInstance, "claude-vm-ctl start"+v.hintArg(), "the VM on %s is still starting", v.dir)
		}
		return err
	}
	v.showOn(out)
	status, err := 0, error(nil)
	if out.terminal() {
		status, err = onTerminal(ctx, out, client, start, false)
	} else {
		var session *guest.Session
		if session, err = openPipes(ctx, client, start); err == nil {
			status, err = onPipes(out, session, out.stdin)
		}
	}
	switch {
	case errors.Is(err, guest.ErrSilent):
		err = v.dialError(err)
	case errors.Is(err, guest.ErrLost):
		err = v.lost(ctx)
	case errors.Is(err, terminal.ErrDetached): // a signal
		return 128 + 15, nil
	}
	return status, err
}
