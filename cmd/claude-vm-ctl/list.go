package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/term"
)

type listVerb struct{ all, json, watch bool }

func (l *listVerb) register(app *kingpin.Application) string {
	cmd := app.Command("list", "List the VMs that are running or have failed.")
	describe(cmd, "", "list --all", "list --json | jq -r '.[].directory'")
	cmd.Flag("all", "Also list VMs with a .vm file that are not running.").Short('a').BoolVar(&l.all)
	cmd.Flag("watch", "Keep showing changes until Ctrl-C.").Short('w').BoolVar(&l.watch)
	cmd.Flag("json", "Print one line of JSON; with --watch, one line for each change.").BoolVar(&l.json)
	return cmd.FullCommand()
}

func (l *listVerb) run(ctx context.Context, out *output) (int, error) {
	if l.watch && !l.json && !term.IsTerminal(int(out.stdout.Fd())) {
		return 0, failure.New(failure.Usage, "claude-vm-ctl list --watch --json", "--watch without --json needs a terminal as standard output")
	}
	paths, err := hostPaths()
	if err != nil {
		return 0, noManager(err)
	}
	m, err := manager.Dial(ctx)
	if err != nil {
		return 0, noManager(err)
	}
	defer m.Close()
	if l.watch {
		return 0, l.follow(ctx, out, m, paths)
	}
	reports, err := l.reports(ctx, m, paths)
	if err != nil {
		return 0, err
	}
	if l.json {
		return 0, json.NewEncoder(out.stdout).Encode(reports)
	}
	if len(reports) == 0 {
		out.note("%s", l.emptyMessage())
		return 0, nil
	}
	width, _, _ := term.GetSize(int(out.stdout.Fd()))
	_, err = fmt.Fprintln(out.stdout, strings.Join(table(out, reports, paths.Home, width), "\n"))
	return 0, err
}

func (l *listVerb) emptyMessage() string {
	if l.all {
		return "no VM is running, and there are no .vm files"
	}
	return "no VM is running; configured VMs: claude-vm-ctl list --all"
}

// reports returns a report for each instance, sorted by directory.
func (l *listVerb) reports(ctx context.Context, m *manager.Manager, paths instance.Paths) ([]report, error) {
	found, err := m.List(ctx, instance.Patterns()...)
	if err != nil {
		return nil, err
	}
	all := map[string]*units{}
	for _, u := range found {
		id := instance.UnitID(u.Name)
		if all[id] == nil {
			all[id] = &units{}
		}
		all[id].add(id, u)
	}
	var loaded []*manager.Unit
	for id, g := range all {
		u := g.primary()
		if u.ActiveState == "" || u.ActiveState == "inactive" {
			delete(all, id)
			continue
		}
		loaded = append(loaded, u)
	}
	if err := m.Fill(ctx, loaded); err != nil {
		return nil, err
	}
	reports := []report{} // not nil, which JSON encodes as null
	for id, g := range all {
		reports = append(reports, newReport(paths, id, g))
	}
	if l.all {
		reports = addConfigured(reports, paths)
	}
	slices.SortFunc(reports, func(a, b report) int { return cmp.Compare(a.Directory, b.Directory) })
	return reports, nil
}

// addConfigured adds reports for the VMs with a .vm file that are not running.
func addConfigured(reports []report, paths instance.Paths) []report {
	known := map[string]*report{}
	for i, r := range reports {
		known[r.Directory] = &reports[i]
	}
	var configured []report
	for _, v := range vmfile.Load(vmfile.SearchPath(paths), paths).VMs {
		if r := known[v.WorkDirectory]; r != nil {
			r.VMFile = cmp.Or(r.VMFile, v.Source[0]) // the unit with SourcePath= may be unloaded
			continue
		}
		id, _, err := paths.PathID(v.WorkDirectory)
		if err != nil { // the path is too long
			continue
		}
		r := newReport(paths, id, &units{})
		r.Directory, r.Status, r.VMFile = v.WorkDirectory, failure.OneLine(v.Refusal), v.Source[0]
		r.SSHHost = sshHost(id, r.VMFile)
		known[v.WorkDirectory] = &r
		configured = append(configured, r)
	}
	return append(reports, configured...)
}

// table returns the lines of the table. Those of VMs that may lack a part of the sandbox are red.
func table(out *output, reports []report, home string, width int) []string {
	lines := terminal.Table(rows(reports, home), width)
	for i, r := range reports {
		if len(r.Insecure) > 0 {
			lines[1+i] = out.red(lines[1+i])
		}
	}
	return lines
}

// rows returns the cells of the table with a header.
func rows(reports []report, home string) [][]string {
	rows := [][]string{{"DIRECTORY", "STATE", "UPTIME", "MEMORY", "CPU", "PORTS", "STATUS"}}
	for _, r := range reports {
		uptime, memory, cpu := "", "", ""
		if r.PID != 0 {
			uptime = ago(time.Since(r.Since))
			memory = r.memory("/")
			cpu = ago(r.CPU)
		}
		var ports []string
		for _, p := range r.Ports {
			ports = append(ports, p.String())
		}
		for _, f := range r.Forwards {
			ports = append(ports, f.Ports)
		}
		status := r.Status
		if status == "" && r.State == "failed" {
			status = "result " + r.Result
		}
		if len(r.Insecure) > 0 {
			status = "may lack " + strings.Join(r.Insecure, ", ") + "; " + status
		}
		row := []string{failure.OneLine(tilde(r.Directory, home)), r.State, uptime, memory, cpu, strings.Join(ports, " "), status}
		for i := range row {
			row[i] = cmp.Or(row[i], "-")
		}
		rows = append(rows, row)
	}
	return rows
}

// tilde replaces the home directory in a path by ~.
func tilde(path, home string) string {
	if rest, found := strings.CutPrefix(path, strings.TrimSuffix(home, "/")+"/"); found && home != "/" {
		return "~/" + rest
	}
	return path
}

const (
	watchInterval = 2 * time.Second        // --watch updates CPU and memory this often
	watchPause    = 100 * time.Millisecond // --watch merges changes in this time
)

// follow implements --watch. It returns when ctx is done.
func (l *listVerb) follow(ctx context.Context, out *output, m *manager.Manager, paths instance.Paths) error {
	changes, err := m.Changes(ctx, func(name string) bool { return instance.UnitID(name) != "" })
	if err != nil {
		return err
	}
	if !l.json { // use the alternate screen and hide the cursor
		io.WriteString(out.stdout, "\x1b[?1049h\x1b[?25l")
		defer io.WriteString(out.stdout, "\x1b[?25h\x1b[?1049l")
	}
	for {
		reports, err := l.reports(ctx, m, paths)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = l.draw(out, paths, reports)
		}
		if err != nil {
			return err
		}
		select {
		case <-changes:
			select {
			case <-time.After(watchPause):
			case <-ctx.Done():
			}
		case <-time.After(watchInterval):
		case <-ctx.Done():
		}
	}
}

// draw prints the reports once for --watch.
func (l *listVerb) draw(out *output, paths instance.Paths, reports []report) error {
	if l.json {
		return json.NewEncoder(out.stdout).Encode(reports)
	}
	width, height, err := term.GetSize(int(out.stdout.Fd()))
	if err != nil {
		return err
	}
	lines := []string{terminal.Cut(l.emptyMessage(), width)}
	if len(reports) > 0 {
		lines = table(out, reports, paths.Home, width)
	}
	lines = lines[:min(len(lines), max(height-1, 1))]
	_, err = io.WriteString(out.stdout, "\x1b[H"+strings.Join(lines, "\x1b[K\n")+"\x1b[K\n\x1b[J")
	return err
}
