package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
	"golang.org/x/term"
)

// snapshotCommand returns the command whose subcommands the verbs below are.
func snapshotCommand(app *kingpin.Application) *kingpin.CmdClause {
	if cmd := app.GetCommand("snapshot"); cmd != nil {
		return cmd
	}
	cmd := app.Command("snapshot", "Look at the saved memory of booted guests, from which VMs resume. Resume=no turns it off.")
	describe(cmd, "ACTION", "snapshot list", "snapshot make ~/src/web", "snapshot rm --all")
	return cmd
}

// snapshotHints returns the keys of the snapshots.
func snapshotHints() []string {
	paths, err := instance.HostPaths()
	if err != nil {
		return nil
	}
	var keys []string
	for _, s := range paths.Snapshots().List() {
		keys = append(keys, s.Key)
	}
	return keys
}

type snapshotListVerb struct{ json bool }

func (s *snapshotListVerb) register(app *kingpin.Application) string {
	cmd := snapshotCommand(app).Command("list", "List the snapshots, the last used first.")
	describe(cmd, "", "snapshot list", "snapshot list --json | jq -r '.[].key'")
	cmd.Flag("json", "Print JSON, for scripts.").BoolVar(&s.json)
	return cmd.FullCommand()
}

func (s *snapshotListVerb) run(_ context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	found := append([]snapshot.Snapshot{}, paths.Snapshots().List()...)
	if s.json {
		return 0, json.NewEncoder(out.stdout).Encode(found)
	}
	rows := [][]string{{"KEY", "GUEST", "MEMORY", "CPUS", "KVM", "DISK", "USED"}}
	for _, f := range found {
		row := []string{f.Key, cmp.Or(failure.OneLine(f.Guest), "incomplete"), size.Format(f.Memory), strconv.Itoa(f.CPUs), "no", size.Format(f.Disk), "-"}
		if f.KVM {
			row[4] = "yes"
		}
		if !f.Used.IsZero() {
			row[6] = ago(time.Since(f.Used))
		}
		rows = append(rows, row)
	}
	width, _, _ := term.GetSize(int(out.stdout.Fd()))
	_, err = fmt.Fprintln(out.stdout, strings.Join(terminal.Table(rows, width), "\n"))
	return 0, err
}

type snapshotRemoveVerb struct {
	keys []string
	all  bool
}

func (s *snapshotRemoveVerb) register(app *kingpin.Application) string {
	cmd := snapshotCommand(app).Command("rm", "Remove snapshots. A VM that has resumed does not need its snapshot any more.")
	describe(cmd, "", "snapshot rm 63f76b615a0780f624079eeeac018a53", "snapshot rm --all")
	cmd.Flag("all", "Remove all snapshots.").BoolVar(&s.all)
	cmd.Arg("key", "Key of a snapshot.").HintAction(snapshotHints).StringsVar(&s.keys)
	return cmd.FullCommand()
}

func (s *snapshotRemoveVerb) run(_ context.Context, _ *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	store := paths.Snapshots()
	switch {
	case s.all == (len(s.keys) > 0):
		return 0, usage(errors.New("pass keys of snapshots, or --all"))
	case s.all:
		return 0, store.RemoveAll()
	}
	for _, key := range s.keys {
		if _, err := store.Read(key); !snapshot.IsKey(key) || snapshot.IsMissing(err) {
			return 0, failure.New(failure.Usage, "claude-vm-ctl snapshot list", "there is no snapshot %s", key)
		}
		if err := store.Remove(key); err != nil {
			return 0, failure.Plain(err)
		}
	}
	return 0, nil
}
