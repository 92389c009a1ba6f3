package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
)

type doctorVerb struct{ json bool }

func (d *doctorVerb) register(app *kingpin.Application) string {
	cmd := app.Command("doctor", "Check the requirements on this machine and print how to fix problems.")
	describe(cmd, "", "doctor", `doctor --json | jq -r '.[] | select(.state == "fail").fix'`)
	cmd.Flag("json", "Print JSON, for scripts.").BoolVar(&d.json)
	return cmd.FullCommand()
}

// finding is the result of one check. Scripts depend on the JSON names.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`            // ok, warn or fail
	Fact   string `json:"fact,omitempty"`   // what was found, if the state is ok
	Reason string `json:"reason,omitempty"` // the problem, if the state is not ok
	Fix    string `json:"fix,omitempty"`    // a command or an instruction
}

// checks lists all checks in the order of the output.
var checks = []struct {
	name string
	run  func(ctx context.Context, h *host) (fact string, err error)
}{
	{"user manager", checkManager},
	{"lingering", func(_ context.Context, h *host) (string, error) { return preflight.Linger(h.paths.User) }},
	{"units", checkUnits},
	{"generator", checkGenerator},
	{".vm files", checkFiles},
	{"guest bundle", checkBundle},
	{"QEMU", func(ctx context.Context, h *host) (string, error) { return preflight.QEMU(ctx, h.qemu) }},
	{"virtiofsd", func(ctx context.Context, h *host) (string, error) { return preflight.Virtiofsd(ctx, h.virtiofsd) }},
	{"KVM", func(context.Context, *host) (string, error) { return preflight.KVM() }},
	{"user namespaces", func(context.Context, *host) (string, error) {
		return "permitted", cmp.Or(preflight.UserNamespaces(), preflight.Proc())
	}},
	{"limits", checkLimits},
	{"memory", checkMemory},
	{"scratch disks", checkScratch},
	{"snapshots", checkSnapshots},
	{"open files", checkFileLimit},
	{"runtime directory", checkRuntime},
	{"network", checkNetwork},
	{"login", checkLogin},
	{"guest build", func(ctx context.Context, _ *host) (string, error) { return preflight.GuestBuild(ctx) }},
	{"clock", func(context.Context, *host) (string, error) { return preflight.Clock() }},
}

// notChecked lists what a user might expect doctor to check.
const notChecked = "not checked: the guest's clock"

func (d *doctorVerb) run(ctx context.Context, out *output) (int, error) {
	findings := diagnose(ctx)
	status := 0
	for _, f := range findings {
		if f.State == "fail" {
			status = failure.HostUnable
		}
	}
	if d.json {
		return status, json.NewEncoder(out.stdout).Encode(findings)
	}
	return status, printFindings(out.stdout, findings)
}

func printFindings(w io.Writer, findings []finding) error {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-4s  %s", f.State, f.Check)
		if text := f.Fact + f.Reason; text != "" {
			fmt.Fprintf(&b, ": %s", failure.OneLine(text))
		}
		b.WriteByte('\n')
		if f.Fix != "" {
			fmt.Fprintf(&b, "      fix: %s\n", failure.OneLine(f.Fix))
		}
	}
	fmt.Fprintf(&b, "      %s\n", notChecked)
	_, err := io.WriteString(w, b.String())
	return err
}

// diagnose runs all checks in parallel. A check that exceeds checkTimeout has failed; its
// goroutine is not stopped.
func diagnose(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h := examine(ctx)
	defer h.close()
	results := make([]func() finding, len(checks))
	for i, c := range checks {
		results[i] = await(ctx, c.name, func() (string, error) { return c.run(ctx, h) })
	}
	findings := make([]finding, len(checks))
	for i, result := range results {
		findings[i] = result()
	}
	return findings
}

// await starts a check. The returned function waits for the result until ctx is done.
func await(ctx context.Context, name string, run func() (string, error)) func() finding {
	found := make(chan finding, 1)
	go func() {
		fact, err := run()
		found <- newFinding(name, fact, err)
	}()
	return func() finding {
		select {
		case f := <-found:
			return f
		case <-ctx.Done():
		}
		select {
		case f := <-found: // the check finished at the same time
			return f
		default:
			return newFinding(name, "", fmt.Errorf("timed out after %v", checkTimeout))
		}
	}
}

func newFinding(name, fact string, err error) finding {
	if err == nil {
		return finding{Check: name, State: "ok", Fact: fact}
	}
	f := finding{Check: name, State: "fail", Reason: err.Error(), Fix: failure.HintOf(err)}
	if preflight.IsWarning(err) {
		f.State = "warn"
	}
	return f
}
