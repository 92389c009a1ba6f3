package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/claudecode"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/term"
)

// guestCommand returns the command whose subcommands the verbs below are.
func guestCommand(app *kingpin.Application) *kingpin.CmdClause {
	if cmd := app.GetCommand("guest"); cmd != nil {
		return cmd
	}
	cmd := app.Command("guest", "Build guests from container images, in which Claude then runs. A .vm file selects one with Guest=NAME.")
	describe(cmd, "ACTION", "guest build --from node:22", "guest list", "run --set Guest=node-22 .", "guest rm node-22")
	return cmd
}

// guestHints returns the names of the user's guests.
func guestHints() []string {
	paths, err := instance.HostPaths()
	if err != nil {
		return nil
	}
	var names []string
	for _, i := range image.List(paths.GuestDirectories()[:1]) {
		names = append(names, i.Name)
	}
	return names
}

type guestListVerb struct{ json bool }

func (g *guestListVerb) register(app *kingpin.Application) string {
	cmd := guestCommand(app).Command("list", "List the installed guest and those that can be selected by name.")
	describe(cmd, "", "guest list", "guest list --json | jq -r '.[].name'")
	cmd.Flag("json", "Print JSON, for scripts.").BoolVar(&g.json)
	return cmd.FullCommand()
}

// guestReport is what guest list prints of a guest. Scripts depend on the JSON names. The installed
// guest has no name.
type guestReport struct {
	image.Image
	Path string `json:"path"`
	// Claude is the version that VMs use. Contract is that of the installed guest, which all guests boot.
	Claude   string `json:"claudeVersion,omitempty"`
	Contract string `json:"contract,omitempty"`
	Invalid  bool   `json:"invalid,omitempty"`
}

func (g *guestListVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	reports := guestReports(paths, installedGuest(ctx))
	if g.json {
		return 0, json.NewEncoder(out.stdout).Encode(reports)
	}
	rows := [][]string{{"NAME", "FROM", "SIZE", "CLAUDE", "CONTRACT", "AGE"}}
	for _, r := range reports {
		age := ""
		if !r.Built.IsZero() {
			age = ago(time.Since(r.Built))
		}
		if r.Invalid {
			age = "incomplete"
		}
		row := []string{r.Name, r.From, size.Format(uint64(r.Size)), r.Claude, r.Contract, age}
		for i := range row {
			row[i] = cmp.Or(failure.OneLine(row[i]), "-")
		}
		rows = append(rows, row)
	}
	width, _, _ := term.GetSize(int(out.stdout.Fd()))
	_, err = fmt.Fprintln(out.stdout, strings.Join(terminal.Table(rows, width), "\n"))
	return 0, err
}

// guestReports returns the installed guest, in the directory bundle, and the others.
func guestReports(paths instance.Paths, bundle string) []guestReport {
	env, _ := preflight.BundleEnvironment(bundle) // without a bundle, the values are unknown
	installed := guestReport{Path: bundle, Claude: env["GUEST_CLAUDE"], Contract: env["GUEST_CONTRACT"]}
	if selected, _ := claudecode.Selected(paths.ClaudeCodeDirectory()); selected != nil { // setup reports the error
		installed.Claude = selected.Version
	}
	installed.From = cmp.Or(env["GUEST_VERSION"], "not installed")
	installed.Size, installed.Built = preflight.BundleSize(bundle)
	reports := []guestReport{installed}
	for _, i := range image.List(paths.GuestDirectories()) {
		r := guestReport{Image: i, Path: i.Directory, Claude: installed.Claude, Contract: installed.Contract, Invalid: i.Architecture == ""}
		r.Directory = ""
		reports = append(reports, r)
	}
	return reports
}

// installedGuest returns the directory of the installed bundle; empty if it is unknown.
func installedGuest(ctx context.Context) string {
	unit := filepath.Join(preflight.OwnUnits(), instance.Setup.Unit(""))
	if m, err := manager.Dial(ctx); err == nil {
		defer m.Close()
		if u, err := m.Unit(ctx, instance.Setup.Unit(probeID)); err == nil && u.Fragment != "" {
			unit = u.Fragment
		}
	}
	return preflight.FileEnvironment(unit)["GUEST"]
}

type guestRemoveVerb struct{ names []string }

func (g *guestRemoveVerb) register(app *kingpin.Application) string {
	cmd := guestCommand(app).Command("rm", "Remove guests that no running VM uses.")
	describe(cmd, "", "guest rm node-22")
	cmd.Arg("name", "Name of a guest.").Required().HintAction(guestHints).StringsVar(&g.names)
	return cmd.FullCommand()
}

func (g *guestRemoveVerb) run(_ context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, name := range g.names {
		if err := removeGuest(out, paths, name); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return 0, nil
	}
	for _, err := range errs[:len(errs)-1] {
		out.error(err)
	}
	return 0, errs[len(errs)-1]
}

func removeGuest(out *output, paths instance.Paths, name string) error {
	if err := image.CheckName(name); err != nil {
		return failure.New(failure.Usage, "claude-vm-ctl guest list", "there is no guest %s", name)
	}
	guests := paths.GuestDirectories()
	dir := filepath.Join(guests[0], name)
	if !isDirectory(dir) {
		for _, other := range guests[1:] {
			if isDirectory(filepath.Join(other, name)) {
				return failure.New(failure.Failed, failure.Command("sudo", "rm", "-r", filepath.Join(other, name)), "the guest %s is in %s, for all users", name, other)
			}
		}
		return failure.New(failure.Usage, "claude-vm-ctl guest list", "there is no guest %s", name)
	}
	for _, id := range paths.Recorded() {
		r, err := paths.ReadRecord(id)
		if err == nil && r.Image != nil && r.Image.Directory == dir {
			work := r.Settings.WorkDirectory
			return failure.New(failure.Failed, failure.Command("claude-vm-ctl", "stop", work), "the guest %s is used by the VM on %s", name, work)
		}
	}
	if err := (&image.Image{Directory: dir}).Remove(); err != nil {
		return failure.Plain(err)
	}
	set := vmfile.Load(vmfile.SearchPath(paths), paths)
	for _, v := range append(set.VMs, set.Defaults) {
		if v.Image == name && len(v.Source) > 0 {
			out.warning(fmt.Sprintf("%s has Guest=%s, so its VM does not start until it is built again", v.Source[0], name))
		}
	}
	return nil
}

var errNoFrom = errors.New("--from or --packages is missing")
