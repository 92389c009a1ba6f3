package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
)

type logsVerb struct {
	dir    string
	follow bool
	boot   bool
	lines  string
	since  string
	format string
}

func (l *logsVerb) register(app *kingpin.Application) string {
	cmd := app.Command("logs", "Show the journal of a VM's units and its guest. Options are as for journalctl.")
	describe(cmd, "", "logs -f", "logs --since=-1h -o json ~/src/web")
	directoryArg(cmd, &l.dir)
	cmd.Flag("follow", "Keep printing new lines.").Short('f').BoolVar(&l.follow)
	cmd.Flag("boot", "Show lines since the last boot of this machine only.").Short('b').BoolVar(&l.boot)
	cmd.Flag("lines", "Number of lines to show, the newest ones.").Short('n').PlaceHolder("LINES").HintOptions(anyText).StringVar(&l.lines)
	cmd.Flag("since", "Show lines since this time only.").PlaceHolder("TIME").HintOptions(anyText).StringVar(&l.since)
	cmd.Flag("output", "Output format of journalctl.").Short('o').PlaceHolder("FORMAT").HintOptions("short", "short-precise", "short-iso", "with-unit", "verbose", "json", "json-pretty", "cat").StringVar(&l.format)
	return cmd.FullCommand()
}

func (l *logsVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := hostPaths()
	if err != nil {
		return 0, noManager(err)
	}
	id, _, err := find(paths, l.dir)
	if err != nil {
		return 0, err
	}
	args := append([]string{"journalctl"}, journalOfAll(id)...)
	for flag, value := range map[string]string{"--lines=": l.lines, "--since=": l.since, "--output=": l.format} {
		if value != "" {
			args = append(args, flag+value)
		}
	}
	if l.follow {
		args = append(args, "--follow")
	}
	if l.boot {
		args = append(args, "--boot")
	}
	path, err := findJournalctl("claude-vm-ctl logs " + failure.Command(l.dir))
	if err != nil {
		return 0, err
	}
	return 0, unix.Exec(path, args, unix.Environ())
}

// findJournalctl returns the path of journalctl. again is the user's command, for the hint.
func findJournalctl(again string) (string, error) {
	path, err := exec.LookPath("journalctl")
	if err != nil {
		return "", failure.New(failure.HostUnable, "PATH=$PATH:/usr/bin:/run/current-system/sw/bin "+again, "journalctl not found in PATH=%s", os.Getenv("PATH"))
	}
	return path, nil
}

// journalOf returns the arguments of journalctl that select the messages of units. Names need
// no escaping: an id contains no brackets and asterisks, and backslashes are literal.
func journalOf(units ...string) []string {
	args := []string{"--user"}
	for _, u := range units {
		args = append(args, "--unit="+u)
	}
	return args
}

// journalOfAll is journalOf for all units of an instance.
func journalOfAll(id string) []string {
	return journalOf(instance.Units(id)...)
}

// lastLogLine returns the last line that a unit's processes have logged since a time; empty if
// there is none.
func lastLogLine(ctx context.Context, unit string, since time.Time) string {
	args := append(journalOf(unit), "--quiet", "--output=json", "--output-fields=MESSAGE,USER_UNIT", "--lines=20",
		fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000), "_SYSTEMD_USER_UNIT="+unit)
	text, err := exec.CommandContext(ctx, "journalctl", args...).Output()
	if err != nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(string(text)) {
		// The user manager's own lines, about settings that a second process of a unit
		// cannot have, have the field USER_UNIT.
		var entry struct {
			Message string `json:"MESSAGE"`
			Manager string `json:"USER_UNIT"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Manager == "" {
			last = entry.Message
		}
	}
	return failure.OneLine(last)
}
