package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

// report is what list and status print about an instance. Scripts depend on the JSON names.
// Unknown values are omitted.
type report struct {
	ID         string    `json:"id"`
	Directory  string    `json:"directory"`
	Unit       string    `json:"unit"`
	State      string    `json:"state"`
	Status     string    `json:"status,omitempty"`
	Result     string    `json:"result,omitempty"`
	FailedUnit string    `json:"failedUnit,omitempty"` // set if a unit that Unit needs has failed instead of Unit
	Since      time.Time `json:"since,omitzero"`
	PID        uint32    `json:"pid,omitempty"`
	Share      string    `json:"share"`
	Runtime    string    `json:"runtimeDirectory"`
	VMFile     string    `json:"vmFile,omitempty"`
	Insecure   []string  `json:"insecure,omitempty"` // parts of the sandbox that may be missing, as in Insecure=

	GuestVersion string `json:"guestVersion,omitempty"`
	// Guest is the name of the guest whose image Claude runs in, and Image what it was built from.
	Guest         string        `json:"guest,omitempty"`
	Image         string        `json:"image,omitempty"`
	ClaudeVersion string        `json:"claudeVersion,omitempty"`
	Memory        uint64        `json:"memoryCurrent,omitempty"` // in bytes
	MemoryLimit   uint64        `json:"memoryLimit,omitempty"`
	CPU           time.Duration `json:"cpuUsageNSec,omitempty"`
	Ports         []port        `json:"ports"`
	Forwards      []forward     `json:"forwards"`
	SSHHost       string        `json:"sshHost"` // host name for ssh, with the output of ssh-config

	// Printed by status only.
	Started   time.Time `json:"started,omitzero"`
	StartedBy string    `json:"startedBy,omitempty"`
	DropIns   []string  `json:"dropIns,omitempty"`
	Warnings  []string  `json:"warnings,omitempty"`
	Scratch   uint64    `json:"scratchCurrent,omitempty"` // disk space of the scratch disk in bytes
	// Snapshot is the key of the snapshot from which the VM has resumed; empty if it has booted.
	Snapshot string `json:"snapshot,omitempty"`
	// ScratchLimit is the size of the scratch disk.
	ScratchLimit uint64   `json:"scratchLimit,omitempty"`
	Drops        int      `json:"cacheDrops,omitempty"` // how often the guest has dropped its caches
	Network      *network `json:"network,omitempty"`
	// Guard is the number of changes that claude-vm-ctl guard shows, of earlier runs.
	Guard int    `json:"guardFindings,omitempty"`
	Units []unit `json:"units,omitempty"`
	// NextGuest is the version of the guest that the next start will use, if it is another.
	NextGuest string `json:"nextGuestVersion,omitempty"`
	// NextImage is when the image that the next start will use was built, if it is another.
	NextImage time.Time `json:"nextImageBuilt,omitzero"`
}

// network is a summary of what claude-vm-ctl network shows.
type network struct {
	Mode        string `json:"mode"`
	Connections int    `json:"connections"`
	Denied      int    `json:"denied"`   // targets that were denied lately
	Requests    int    `json:"requests"` // names that the guest asks for
}

// unit is the state of one unit of an instance.
type unit struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Result string `json:"result,omitempty"`
}

// port is a published port.
type port struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Host     int    `json:"host"`
	Guest    int    `json:"guest"`
}

// String returns the value of PublishPort= without default values.
func (p port) String() string {
	text := strconv.Itoa(p.Host)
	if p.Guest != p.Host {
		text += fmt.Sprint(":", p.Guest)
	}
	switch {
	case strings.Contains(p.Address, ":"):
		text = "[" + p.Address + "]:" + text
	case p.Address != "127.0.0.1":
		text = p.Address + ":" + text
	}
	if p.Protocol != "tcp" {
		text += "/" + p.Protocol
	}
	return text
}

// forward is a unit that forwards ports into the running VM.
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

// units contains the states of the units of one instance.
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

// of returns the unit of a part; it is empty if the unit is not loaded.
func (g *units) of(p *instance.Part) *manager.Unit {
	if u := g.parts[p]; u != nil {
		return u
	}
	return &manager.Unit{}
}

// primary returns the unit whose state is shown as the state of the instance: the VM's or, if
// the VM could not start because a unit that it needs has failed, that unit.
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
		if filepath.Ext(source) == vmfile.Suffix { // otherwise the settings are from defaults.conf
			r.VMFile = source
		}
	}
	r.SSHHost = sshHost(id, r.VMFile)
	for _, p := range g.ports {
		r.Forwards = append(r.Forwards, newForward(p))
	}
	if r.PID != 0 {
		record, _ := paths.ReadRecord(id) // without a record, the values are omitted
		r.readRecord(record, *main)
		r.askGateway(paths.GatewayDirectory(id))
	}
	return r
}

// readRecord adds values from the record and from the VM's unit u. It uses the settings in the
// record because those of the unit may have changed since the start.
func (r *report) readRecord(record instance.Record, u manager.Unit) {
	r.GuestVersion, r.ClaudeVersion = failure.OneLine(record.GuestVersion), failure.OneLine(record.ClaudeVersion)
	r.Insecure = record.Settings.Insecure
	if record.Image != nil {
		r.Guest, r.Image = record.Image.Name, failure.OneLine(record.Image.From)
	}
	for _, p := range record.Settings.Ports {
		r.Ports = append(r.Ports, port(p))
	}
	if record.Settings.Memory != 0 {
		r.MemoryLimit = record.Settings.Memory + vm.MaxOverhead
	}
	if u.MemoryMax != 0 { // higher, if a variable has set the guest's memory
		r.MemoryLimit = min(cmp.Or(r.MemoryLimit, u.MemoryMax), u.MemoryMax)
	}
	if r.Memory = u.Memory; r.Memory == 0 { // without a memory controller, use the memory of the QEMU process
		var total, resident uint64
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", u.MainPID))
		fmt.Sscan(string(text), &total, &resident)
		r.Memory = resident * uint64(os.Getpagesize())
	}
}

// readScratch adds the size of the scratch disk and the disk space that its file takes. pid is the
// process that serves it. The file has no name.
func (r *report) readScratch(pid uint32) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range files {
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 0 {
			r.Scratch, r.ScratchLimit = uint64(st.Blocks)*512, uint64(st.Size)
		}
	}
}

// gatewayTimeout is short: without an answer, the published ports are those of the start.
const gatewayTimeout = time.Second

// askGateway adds values from the gateway, if there is one.
func (r *report) askGateway(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), gatewayTimeout)
	defer cancel()
	s, err := control.Ask(ctx, dir, nil)
	if err != nil {
		return
	}
	r.Ports = []port{}
	for _, open := range s.Ports {
		if p, err := vmfile.ParsePort(open.Port); err == nil && open.Error == "" {
			r.Ports = append(r.Ports, port(p))
		}
	}
	r.Network = &network{Mode: s.Mode, Connections: len(s.Connections), Denied: len(s.Denied), Requests: len(s.Requests)}
}

// memory returns the memory usage and, after the separator of, the limit if it is known.
func (r report) memory(of string) string {
	if r.MemoryLimit == 0 {
		return size.Format(r.Memory)
	}
	return size.Format(r.Memory) + of + size.Format(r.MemoryLimit)
}

// ago formats a duration in the largest unit that fits.
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
