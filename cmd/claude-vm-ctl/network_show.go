package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
)

// This file has the output of network.

// show prints a status.
func (n *networkVerb) show(out *output, v *target, s control.Status) error {
	if n.json {
		return json.NewEncoder(out.stdout).Encode(s)
	}
	_, err := out.stdout.WriteString(v.describeNetwork(s, v.vmFile()))
	return err
}

// configuredNetwork returns what the next start will have.
func (v *target) configuredNetwork() control.Status {
	_, c := v.files()
	s := control.Status{
		Mode: c.Network, Allow: []control.Rule{}, Deny: []control.Rule{}, Ports: []control.Port{},
		Connections: []control.Connection{}, Denied: []control.Denied{}, Requests: []control.Asked{}, Injected: []control.Secret{},
	}
	for _, rule := range c.Allow {
		s.Allow = append(s.Allow, control.Rule{Rule: rule})
	}
	for _, rule := range c.Deny {
		s.Deny = append(s.Deny, control.Rule{Rule: rule})
	}
	for _, p := range c.Ports {
		s.Ports = append(s.Ports, control.Port{Port: p.String()})
	}
	return s
}

// describeNetwork returns the text for a status. file is the .vm file, if there is one.
func (v *target) describeNetwork(s control.Status, file string) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		if label != "" {
			label += ":"
		}
		fmt.Fprintf(&b, "%11s %s\n", label, failure.OneLine(fmt.Sprintf(format, args...)))
	}
	live := func(added bool) string {
		if added {
			return " (until the VM stops)"
		}
		return ""
	}
	command := "claude-vm-ctl network" + v.hintArg()
	line("Directory", "%s", v.dir)
	if file != "" {
		line(".vm file", "%s", file)
	}
	line("Mode", "%s", s.Mode)
	for _, r := range s.Allow {
		line("Allow", "%s%s", r.Rule, live(r.Live))
	}
	for _, r := range s.Deny {
		line("Deny", "%s%s", r.Rule, live(r.Live))
	}
	for _, p := range s.Ports {
		text := p.Port + live(p.Live)
		if p.Error != "" {
			text += ": " + p.Error
		}
		line("Port", "%s", text)
	}
	for _, i := range s.Injected {
		line("Secret", "%s, for %s", i.Name, i.Host)
	}
	if s.Proxy != "" {
		line("Proxy", "%s", s.Proxy)
	}
	for _, c := range s.Connections {
		name := cmp.Or(c.Name, c.Address)
		if c.Name != "" && c.Address != "" {
			name += " (" + c.Address + ")"
		}
		line("Connection", "%s port %d/%s, %s", name, c.Port, c.Protocol, ago(time.Since(c.Since)))
	}
	for _, d := range s.Denied {
		times := ""
		if d.Count > 1 {
			times = fmt.Sprintf(", %d times", d.Count)
		}
		line("Denied", "%s%s, %s ago: %s", d.Target, times, ago(time.Since(d.Last)), d.Reason)
		if d.Allow != "" {
			line("", "to allow it: %s allow %s", command, d.Allow)
		}
	}
	for _, r := range s.Requests {
		line("Request", "%s: %q", r.Rule, r.Reason)
		line("", "to allow it: %s allow %s", command, failure.Command(r.Rule))
	}
	return b.String()
}

func (n *networkVerb) printGroups(out *output) error {
	if n.json {
		return json.NewEncoder(out.stdout).Encode(policy.Groups)
	}
	for _, g := range policy.Groups {
		if _, err := fmt.Fprintf(out.stdout, "%s\n", g.Name); err != nil {
			return err
		}
		for _, name := range g.Names {
			if _, err := fmt.Fprintf(out.stdout, "\t%s\n", name); err != nil {
				return err
			}
		}
	}
	return nil
}

// showEvents prints the decisions of the gateway. It connects again if the gateway is
// restarted.
func (n *networkVerb) showEvents(ctx context.Context, out *output, v *target) error {
	encode := json.NewEncoder(out.stdout)
	for {
		err := control.Events(ctx, v.paths.GatewayDirectory(v.id), func(e control.Event) error {
			if n.json {
				return encode.Encode(e)
			}
			text := fmt.Sprintf("%s %-7s %s", e.Time.Local().Format(time.TimeOnly), e.Decision, e.Target)
			if e.Address != "" && !strings.HasPrefix(e.Target, e.Address) {
				text += " (" + e.Address + ")"
			}
			if e.Reason != "" {
				text += ": " + e.Reason
			}
			_, err := fmt.Fprintln(out.stdout, failure.OneLine(text))
			return err
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if _, statErr := os.Stat(v.paths.GatewayDirectory(v.id)); statErr != nil {
				return v.gatewayError(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond): // the gateway starts again
		}
	}
}
