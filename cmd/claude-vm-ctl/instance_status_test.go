package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
)

// TestReport checks that the state is that of a failed unit unless the VM is running.
func TestReport(t *testing.T) {
	paths := instance.Paths{Home: "/home/me", Runtime: "/run/user/1"}
	const id = `home-me-a\x1bb`
	setup := manager.Unit{Name: instance.Setup.Unit(id), ActiveState: "failed", Result: "exit-code", StatusText: "no\n\x1b[31mway", Source: "/etc/a.vm"}
	g := &units{}
	g.add(id, setup)
	g.add(id, manager.Unit{Name: "claude-vm-port-80@" + id + ".service", ActiveState: "active", Description: "Ports 80:8080 and 81 of the Claude VM on /home/me/x"})
	g.add(id, manager.Unit{Name: "claude-vm-port-22@" + id + ".service", ActiveState: "active"})
	g.add(id, manager.Unit{Name: "claude-vm-port-23@" + id + ".service", ActiveState: "failed"})
	want := report{
		ID: id, Directory: "/home/me/a\x1bb", Unit: "claude-vm@" + id + ".service", State: "failed", Status: "no  [31mway",
		Result: "exit-code", FailedUnit: setup.Name, Share: "inactive", Runtime: "/run/user/1/claude-vm/" + id, VMFile: "/etc/a.vm",
		SSHHost: "a.claude-vm", Ports: []port{}, Forwards: []forward{
			{"claude-vm-port-80@" + id + ".service", "80:8080 and 81"}, {"claude-vm-port-22@" + id + ".service", "22"},
		},
	}
	if diff := cmp.Diff(want, newReport(paths, id, g)); diff != "" {
		t.Errorf("newReport() mismatch (-want +got):\n%s", diff)
	}
	lines := terminal.Table(rows([]report{want}, paths.Home), 0)
	if got := strings.Fields(lines[1]); got[0] != "~/a" || got[1] != "b" || got[2] != "failed" {
		t.Errorf("the row is %q", lines[1])
	}
	g.add(id, manager.Unit{Name: instance.VM.Unit(id), ActiveState: "activating"})
	if got := newReport(paths, id, g); got.State != "activating" || got.FailedUnit != "" {
		t.Errorf("while the VM starts: %+v", got)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{ago(59 * time.Second), "59 s"}, {ago(3 * time.Minute), "3 min"}, {ago(49 * time.Hour), "2 days"},
		{port{"tcp", "127.0.0.1", 3000, 3000}.String(), "3000"}, {port{"udp", "0.0.0.0", 53, 5353}.String(), "0.0.0.0:53:5353/udp"},
		{tilde("/home/me/a", "/home/me"), "~/a"}, {tilde("/home/meander", "/home/me"), "/home/meander"}, {tilde("/a", "/"), "/a"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
