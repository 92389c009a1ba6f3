package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// report is what list and status tell of an instance. Its JSON names are an
// interface. What is unknown is left out.
type report struct {
	ID         string    `json:"id"`
	Directory  string    `json:"directory"`
	Unit       string    `json:"unit"`
	State      string    `json:"state"`
	Status     string    `json:"status,omitempty"`
	Result     string    `json:"result,omitempty"`
	FailedUnit string    `json:"failedUnit,omitempty"` // if not Unit has failed, but one that it needs
	Since      time.Time `json:"since,omitzero"`
	PID        uint32    `json:"pid,omitempty"`
	Share      string    `json:"share"`
	Runtime    string    `json:"runtimeDirectory"`
	VMFile     string    `json:"vmFile,omitempty"`

	GuestVersion string        `json:"guestVersion,omitempty"`
	Memory       uint64        `json:"memoryCurrent,omitempty"` // in bytes
	MemoryLimit  uint64        `json:"memoryLimit,omitempty"`
	CPU          time.Duration `json:"cpuUsageNSec,omitempty"`
	Ports        []port        `json:"ports"`
	Forwards     []forward     `json:"forwards"`
	SSHHost      string        `json:"sshHost"` // with what ssh-config prints

	// Of status alone.
	Started   time.Time `json:"started,omitzero"`
	StartedBy string    `json:"startedBy,omitempty"`
	DropIns   []string  `json:"dropIns,omitempty"`
	Units     []unit    `json:"units,omitempty"`
}

// unit is one of an instance's.
type unit struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Result string `json:"result,omitempty"`
}

// port is one that was published at the start.
type port struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Host     int    `json:"host"`
	Guest    int    `json:"guest"`
}

// String is PublishPort= without what is the default.
func (p port) String() string {
	text := strconv.Itoa(p.Host)
	if p.Guest != p.Host {
		text += fmt.Sprint(":", p.Guest)
	}
	if p.Address != "127.0.0.1" {
		text = p.Address + ":" + text
	}
	if p.Protocol != "tcp" {
		text += "/" + p.Protocol
	}
	return text
}

// forward is a unit that leads ports into the running VM.
type forward struct {
	Unit  string `json:"unit"`
	Ports string `json:"ports"`
}

func newForward(u manager.Unit) forward {
	template, _, _ := strings.Cut(u.Name, "@")
	f := forward{Unit: u.Name, Ports: strings.TrimPrefix(template, "claude-vm-port-")}
	if text, found := strings.CutPrefix(u.Description, "Ports "); found {
		if ports, _, found := strings.Cut(text, " of the Claude VM on "); found {
			f.Ports = failure.OneLine(ports)
		}
	}
	return f
}

// units are the state of one instance's units at one time.
type units struct {
	parts map[*instance.Part]*manager.Unit
	ports []manager.Unit
}

func (g *units) add(id string, u manager.Unit) {
	for _, p := range instance.Parts {
		if u.Name == p.Unit(id) {
			if g.parts == nil {
				g.parts = map[*instance.Part]*manager.Unit{}
			}
			g.parts[p] = &u
			return
		}
	}
	if u.Running() {
		g.ports = append(g.ports, u)
	}
}

// of returns the unit of a part; an empty one if it is not loaded.
func (g *units) of(p *instance.Part) *manager.Unit {
	if u := g.parts[p]; u != nil {
		return u
	}
	return &manager.Unit{}
}

// primary returns the unit whose state is the instance's: the VM's, but if a part
// that it needs has failed before the VM could start, that one.
func (g *units) primary() *manager.Unit {
	main := g.of(instance.VM)
	if main.ActiveState != "inactive" && main.ActiveState != "" {
		return main
	}
	for _, p := range instance.Parts {
		if u := g.of(p); p.When == instance.Always && u.ActiveState == "failed" {
			return u
		}
	}
	return main
}

func newReport(paths instance.Paths, id string, g *units) report {
	u, main := g.primary(), g.of(instance.VM)
	r := report{
		ID: id, Directory: id, Unit: instance.VM.Unit(id), State: cmp.Or(u.ActiveState, "inactive"), Status: failure.OneLine(u.StatusText),
		Result: u.Result, Since: u.Since, PID: main.MainPID, Share: cmp.Or(g.of(instance.Virtiofsd).ActiveState, "inactive"),
		Runtime: paths.RuntimeDirectory(id), CPU: main.CPU, Ports: []port{}, Forwards: []forward{},
	}
	if dir, err := instance.Directory(id); err == nil {
		r.Directory = dir
	}
	if u != main {
		r.FailedUnit = u.Name
	}
	for _, source := range []string{g.of(instance.Setup).Source, main.Source} {
		if filepath.Ext(source) == vmfile.Suffix { // else it is of all VMs
			r.VMFile = source
		}
	}
	r.SSHHost = sshHost(id, r.VMFile)
	for _, p := range g.ports {
		r.Forwards = append(r.Forwards, newForward(p))
	}
	if r.PID != 0 {
		record, _ := paths.ReadRecord(id) // without one little is known
		r.readRecord(record, *main)
	}
	return r
}

// readRecord adds what the record and the process know of the VM, of which u is the
// unit. The settings of the unit may have changed since it started.
func (r *report) readRecord(record instance.Record, u manager.Unit) {
	r.GuestVersion = failure.OneLine(record.GuestVersion)
	for _, p := range record.Settings.Ports {
		r.Ports = append(r.Ports, port(p))
	}
	r.MemoryLimit = cmp.Or(u.MemoryMax, record.Settings.Memory)
	if r.Memory = u.Memory; r.Memory == 0 { // no memory controller: QEMU's alone
		var total, resident uint64
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", u.MainPID))
		fmt.Sscan(string(text), &total, &resident)
		r.Memory = resident * uint64(os.Getpagesize())
	}
}

// memory shows what is used and, after a sign, the limit if that is known.
func (r report) memory(of string) string {
	if r.MemoryLimit == 0 {
		return size.Format(r.Memory)
	}
	return size.Format(r.Memory) + of + size.Format(r.MemoryLimit)
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
