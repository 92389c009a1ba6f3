package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

type statusVerb struct {
	dir  string
	json bool
}

func (s *statusVerb) register(app *kingpin.Application) string {
	cmd := app.Command("status", "Show the state of a VM; exit with 120 if it does not run.")
	directoryArg(cmd, &s.dir)
	cmd.Flag("json", "For scripts.").BoolVar(&s.json)
	return cmd.FullCommand()
}

// report is what status knows. Its JSON names are an interface.
type report struct {
	ID        string    `json:"id"`
	Directory string    `json:"directory"`
	Unit      string    `json:"unit"`
	State     string    `json:"state"`
	Status    string    `json:"status,omitempty"`
	Result    string    `json:"result,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	PID       uint32    `json:"pid,omitempty"`
	Share     string    `json:"share"`
	Runtime   string    `json:"runtimeDirectory"`
}

func (s *statusVerb) run(ctx context.Context, out *output) (int, error) {
	v, u, err := open(ctx, s.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	share, err := v.manager.Unit(ctx, instance.ShareUnit(v.id))
	if err != nil {
		return 0, err
	}
	r := report{
		ID: v.id, Directory: v.dir, Unit: v.unit(), State: u.ActiveState, Status: oneLine(u.StatusText),
		Result: u.Result, Since: u.Since, PID: u.MainPID, Share: share.ActiveState,
		Runtime: v.env.RuntimeDirectory(v.id),
	}
	if s.json {
		err = json.NewEncoder(out.stdout).Encode(r)
	} else {
		err = r.print(out)
	}
	if err == nil && !u.Running() {
		return exitNoInstance, nil
	}
	return 0, err
}

func (r report) print(out *output) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%10s: %s\n", label, fmt.Sprintf(format, args...))
	}
	line("Directory", "%s", oneLine(r.Directory))
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
	line("Share", "%s", r.Share)
	if r.PID != 0 {
		line("QEMU", "process %d", r.PID)
	}
	line("Unit", "%s", r.Unit)
	_, err := fmt.Fprint(out.stdout, b.String())
	return err
}

// ago says how long, in the largest fitting unit.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
