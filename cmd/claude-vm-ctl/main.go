// claude-vm-ctl starts, attaches to and looks at virtual machines for Claude
// Code. systemd's user manager runs them; see units/.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], newOutput(os.Stdin, os.Stdout, os.Stderr)))
}

// verb is one command of the program. Its fields are set by the parser.
type verb interface {
	register(app *kingpin.Application) (name string)
	run(ctx context.Context, out *output) (status int, err error)
}

func run(ctx context.Context, args []string, out *output) int {
	// The arguments after -- are for Claude or a command; kingpin would parse them.
	args, rest, cut := cutArguments(args)
	if len(args) == 0 {
		return out.error(withHelp(usage(errors.New("no verb is given")), ""))
	}
	app, verbs := application(out)
	if args[0] == "help" { // kingpin's help verb exits with another status for an unknown verb
		args = slices.Concat(args[1:], []string{"--help"})
	}
	if cut && args[0] == completionFlag { // after --, the shell completes as by default
		return 0
	}
	name, err := app.Parse(args) // exits itself after --help and --version
	if err != nil {
		if app.GetCommand(args[0]) != nil {
			name = args[0]
		}
		return out.error(withHelp(usage(err), name))
	}
	v := verbs[name]
	if r, ok := v.(interface{ arguments([]string) }); ok {
		r.arguments(rest)
	} else if len(rest) > 0 {
		return out.error(withHelp(usage(errors.New(name+" takes no arguments after --")), name))
	}
	status, err := v.run(ctx, out)
	if err != nil {
		return out.error(withStatus(withHelp(err, name)))
	}
	return status
}

func application(out *output) (*kingpin.Application, map[string]verb) {
	// "@name" is a directory like any other, not a file of arguments.
	kingpin.EnableFileExpansion = false
	app := kingpin.New("claude-vm-ctl", "Run Claude Code in a virtual machine that sees one directory.")
	app.UsageWriter(out.stdout)
	app.ErrorWriter(out.stderr)
	app.HelpFlag.Short('h')
	app.Version(version)
	app.UsageFuncs(usageFuncs)
	app.UsageTemplate(usageTemplate)
	verbs := map[string]verb{}
	for _, v := range []verb{
		&runVerb{}, &startVerb{}, &stopVerb{}, &restartVerb{}, &killVerb{}, &guardVerb{},
		&attachVerb{}, &shellVerb{}, &networkVerb{}, &forwardVerb{}, &sshConfigVerb{}, &sshProxyVerb{}, &listVerb{},
		&statusVerb{}, &logsVerb{}, &idVerb{}, &editVerb{}, &guestBuildVerb{}, &guestListVerb{}, &guestUpdateVerb{}, &guestRemoveVerb{}, &snapshotListVerb{}, &snapshotMakeVerb{}, &snapshotRemoveVerb{}, &generateVerb{}, &loginVerb{}, &logoutVerb{}, &doctorVerb{}, &uninstallVerb{}, &unitVerb{},
	} {
		verbs[v.register(app)] = v
	}
	return app, verbs
}

// cutArguments splits at the first "--".
func cutArguments(args []string) (before, after []string, found bool) {
	for i, a := range args {
		if a == "--" {
			return args[:i], args[i+1:], true
		}
	}
	return args, nil, false
}

// withStatus adds the exit status to an error that is an interrupt or a lost connection to
// the user manager.
func withStatus(err error) error {
	var e *failure.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled):
		return failure.New(failure.Interrupted, "", "interrupted")
	case errors.Is(err, manager.ErrLost):
		return failure.New(failure.HostUnable, "systemctl --user status", "%w", err)
	}
	return err
}

// withHelp adds --help as the hint of a usage error without one.
func withHelp(err error, verb string) error {
	if e := failure.Of(err); e.Status == failure.Usage && e.Hint == "" {
		return failure.New(failure.Usage, strings.Join(strings.Fields("claude-vm-ctl "+verb+" --help"), " "), "%w", err)
	}
	return err
}
