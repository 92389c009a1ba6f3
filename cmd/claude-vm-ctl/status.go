package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guard"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
)

type statusVerb struct {
	dir   string
	json  bool
	lines string
}

func (s *statusVerb) register(app *kingpin.Application) string {
	cmd := app.Command("status", "Show the state of a VM. The exit status is 120 if it is not running.")
	describe(cmd, "", "status ~/src/web", "status --json | jq -r .state")
	directoryArg(cmd, &s.dir)
	cmd.Flag("lines", "Number of journal lines to show, by default 5.").Short('n').Default("5").HintOptions(anyText).StringVar(&s.lines)
	cmd.Flag("json", "Print JSON, for scripts.").BoolVar(&s.json)
	return cmd.FullCommand()
}

func (s *statusVerb) run(ctx context.Context, out *output) (int, error) {
	lines, err := strconv.Atoi(s.lines)
	if err != nil || lines < 0 {
		return 0, usage(errors.New("--lines needs a number, not " + s.lines))
	}
	v, u, err := open(ctx, s.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	r, err := v.report(ctx, u)
	if err != nil {
		return 0, err
	}
	if s.json {
		err = json.NewEncoder(out.stdout).Encode(r)
	} else if err = r.print(out); err == nil && lines > 0 {
		err = v.lastLines(ctx, out, lines)
	}
	if err == nil && !u.Running() {
		return failure.NoInstance, nil
	}
	return 0, err
}

// report returns a report with all fields. u is the VM's unit.
func (v *target) report(ctx context.Context, u manager.Unit) (report, error) {
	found, err := v.manager.List(ctx, instance.PortUnits)
	if err != nil {
		return report{}, err
	}
	g := &units{}
	for _, port := range found {
		if instance.UnitID(port.Name) == v.id {
			g.add(v.id, port)
		}
	}
	for _, p := range instance.Parts {
		part := u
		if p != instance.VM {
			if part, err = v.manager.Unit(ctx, p.Unit(v.id)); err != nil {
				return report{}, err
			}
		}
		g.add(v.id, part)
	}
	r := newReport(v.paths, v.id, g)
	r.Directory = v.dir
	for _, p := range instance.Parts {
		part := g.of(p)
		r.DropIns = append(r.DropIns, part.DropIns...)
		r.Units = append(r.Units, unit{Name: part.Name, State: cmp.Or(part.ActiveState, "inactive"), Result: part.Result})
	}
	if found, err := guard.Open(v.paths.GuardFile(v.id)).Known(); err == nil {
		r.Guard = len(found)
	}
	if u.Gone() {
		return r, nil
	}
	r.Started = u.Started
	r.readScratch(g.of(instance.Scratch).MainPID)
	r.Drops = guest.ReadStatus(r.Runtime).Drops
	// An error is not worth failing: the unit may be gone now.
	if env, err := v.manager.ServiceEnvironment(ctx, v.unit()); err == nil && r.GuestVersion != "" {
		bundle, _ := preflight.BundleEnvironment(env["GUEST"])
		if next := failure.OneLine(bundle["GUEST_VERSION"]); next != r.GuestVersion {
			r.NextGuest = next
		}
	}
	// The rest of the request is not shown, because it may contain an API key.
	if record, err := v.paths.ReadRecord(v.id); err == nil {
		r.StartedBy = failure.OneLine(cmp.Or(record.Request.By, "systemd"))
		r.Warnings = record.Warnings
		if s := record.Snapshot; s != nil && s.Resume {
			r.Snapshot = s.Key
		}
		if i := record.Image; i != nil {
			if next, err := image.Find(v.paths.GuestDirectories(), i.Name); err == nil && !next.Built.Equal(i.Built) {
				r.NextImage = next.Built
			}
		}
	}
	return r, nil
}

func (r report) print(out *output) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%10s: %s\n", label, failure.OneLine(fmt.Sprintf(format, args...)))
	}
	line("Directory", "%s", r.Directory)
	state := r.State
	if r.State == "failed" {
		state += " (" + r.Result + ")"
	}
	if !r.Since.IsZero() {
		state += fmt.Sprintf(" since %s, %s", r.Since.Format(time.DateTime), ago(time.Since(r.Since)))
	}
	line("VM", "%s", state)
	if r.Status != "" {
		line("Status", "%s", r.Status)
	}
	if r.FailedUnit != "" {
		line("Failed", "%s", r.FailedUnit)
	}
	if r.StartedBy != "" {
		line("Started", "%s by %s", r.Started.Format(time.DateTime), r.StartedBy)
	}
	line("Share", "%s", r.Share)
	if len(r.Insecure) > 0 {
		b.WriteString(out.red(fmt.Sprintf("%10s: may run without %s", "Insecure", strings.Join(r.Insecure, ", "))) + "\n")
	}
	for _, text := range r.Warnings {
		line("Warning", "%s", text)
	}
	if r.Drops > 0 {
		line("Caches", "dropped in the guest %d times or more, to close files; see claude-vm-ctl doctor", r.Drops)
	}
	if r.PID != 0 {
		r.printGuest(line)
	}
	if n := r.Network; n != nil {
		line("Network", "Mode=%s, %d connections, %d targets denied lately", n.Mode, n.Connections, n.Denied)
		if n.Requests > 0 {
			line("Request", "%d of the guest; see claude-vm-ctl network", n.Requests)
		}
	}
	if r.Guard > 0 {
		line("Guard", "%d files changed by earlier runs that your programs execute or obey; see claude-vm-ctl guard", r.Guard)
	}
	for _, p := range r.Ports {
		line("Port", "%s", p)
	}
	for _, f := range r.Forwards {
		line("Port", "%s, by %s", f.Ports, f.Unit)
	}
	for _, u := range r.Units {
		state := u.State
		if state == "failed" {
			state += " (" + u.Result + ")"
		}
		line("Unit", "%s %s", u.Name, state)
	}
	if r.VMFile != "" {
		line(".vm file", "%s", r.VMFile)
	}
	for _, path := range r.DropIns {
		line("Drop-in", "%s", path)
	}
	_, err := io.WriteString(out.stdout, b.String())
	return err
}

// printGuest prints what is known of the guest while QEMU runs.
func (r report) printGuest(line func(label, format string, args ...any)) {
	line("Guest", "%s", cmp.Or(r.GuestVersion, "unknown version"))
	if r.Guest != "" {
		line("Image", "%s, from %s", r.Guest, r.Image)
	}
	if !r.NextImage.IsZero() {
		line("Next image", "built %s, after a restart", r.NextImage.Local().Format(time.DateTime))
	}
	if r.ClaudeVersion != "" {
		line("Claude", "%s", r.ClaudeVersion)
	}
	if r.NextGuest != "" {
		line("Next guest", "%s, after a restart", r.NextGuest)
	}
	if r.Snapshot != "" {
		line("Resumed", "from snapshot %s", r.Snapshot)
	}
	line("Memory", "%s", r.memory(" of "))
	if r.ScratchLimit > 0 {
		line("Scratch", "%s of %s on disk", size.Format(r.Scratch), size.Format(r.ScratchLimit))
	}
	line("CPU", "%s", r.CPU.Round(time.Millisecond))
	line("QEMU", "process %d", r.PID)
	line("SSH", "%s", r.SSHHost)
}

// lastLines prints the last lines of the journal, as systemctl status does.
func (v *target) lastLines(ctx context.Context, out *output, lines int) error {
	path, err := findJournalctl("claude-vm-ctl status" + v.hintArg())
	if err != nil {
		return err
	}
	args := append(journalOfAll(v.id), "--quiet", "--no-pager", "--output=short", "--lines="+strconv.Itoa(lines))
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = out.stderr // journalctl prints its own errors
	text, err := cmd.Output()
	if err != nil {
		return failure.New(failure.Failed, "claude-vm-ctl logs"+v.hintArg(), "journalctl: %w", err)
	}
	if len(text) > 0 {
		_, err = fmt.Fprintf(out.stdout, "\n%s", text)
	}
	return err
}
