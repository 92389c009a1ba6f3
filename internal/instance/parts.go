package instance

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// Part is one of the units of an instance. Its unit file is a template in units/, which
// systemd instantiates with the id of the instance.
type Part struct {
	Name   string // name of the template, without "@" and the suffix
	Suffix string // empty for ".service"
	What   string // what the unit is for
	When   When
	// Settings selects the settings of .vm files that become drop-ins of the unit; zero
	// if the unit has no drop-ins.
	Settings vm.Unit
}

// When defines when a part runs.
type When int

const (
	Always    When = iota // started with the VM, which fails to start if this part fails
	IfEnabled             // started with the VM if a setting enables it
	Triggered             // started by another part
)

// The parts of an instance.
var (
	Runtime    = &Part{Name: "claude-vm-runtime", What: "removes what setup created, when no other part needs it any more"}
	Setup      = &Part{Name: "claude-vm-setup", What: "checks the host and creates the runtime directory", Settings: vm.Setup}
	Guard      = &Part{Name: "claude-vm-guard", What: "reports changed files that programs of the host execute or obey"}
	Console    = &Part{Name: "claude-vm-console", What: "copies the guest's console to the journal"}
	Virtiofsd  = &Part{Name: "claude-vm-virtiofsd", What: "virtiofsd, which shares the work directory", Settings: vm.Share}
	Gateway    = &Part{Name: "claude-vm-gateway", What: "the VM's way out: network, published ports, secrets", When: IfEnabled}
	Fetch      = &Part{Name: "claude-vm-secrets", What: "runs the commands of InjectCommand=", When: IfEnabled}
	Refused    = &Part{Name: "claude-vm-secrets", Suffix: ".path", What: "waits for a server to refuse a secret of InjectCommand=", When: IfEnabled}
	Scratch    = &Part{Name: "claude-vm-scratch", What: "the scratch disk, for what does not fit into the guest's memory, unless Scratch=no"}
	VM         = &Part{Name: "claude-vm", What: "QEMU; its state is the state of the instance", Settings: vm.Machine}
	SSHAgent   = &Part{Name: "claude-vm-ssh-agent", What: "connects the guest to an SSH agent", When: IfEnabled}
	PartFailed = &Part{Name: "claude-vm-part-failed", What: "stops what runs although a part of the VM has failed", When: Triggered}
	AskPath    = &Part{Name: "claude-vm-ask", Suffix: ".path", What: "waits for a request of the guest", When: IfEnabled}
	Resuming   = &Part{Name: "claude-vm-resume", Suffix: ".path", What: "waits until the VM has booted or cannot resume", When: IfEnabled}
	Resume     = &Part{Name: "claude-vm-resume", What: "makes a snapshot of the guest, or boots a VM that cannot resume from it", When: Triggered}
	Ask        = &Part{Name: "claude-vm-ask", What: "shows the guest's requests as desktop notifications", When: Triggered}
)

// Parts lists the parts in the order in which they start. Code that handles all units
// of an instance must loop over it.
var Parts = []*Part{Runtime, Setup, Guard, Console, Virtiofsd, Fetch, Gateway, Scratch, VM, SSHAgent, PartFailed, AskPath, Ask, Refused, Resuming, Resume}

// Slice is the slice of the units of all instances.
const Slice = `app-claude\x2dvm.slice`

const service = ".service"

// PortUnits matches the transient units that forward ports into a running VM.
const PortUnits = "claude-vm-port-*@*.service"

// snapshotTemplate is the template of the units that make snapshots. They belong to no instance.
const snapshotTemplate = "claude-vm-snapshot"

// SnapshotUnit returns the name of the unit that makes the snapshot with a key.
func SnapshotUnit(key string) string { return snapshotTemplate + "@" + key + service }

// Unit returns the name of the part's unit for an instance. With an empty id it is the
// name of the template, with "*" a pattern for systemctl.
func (p *Part) Unit(id string) string { return p.Name + "@" + id + cmp.Or(p.Suffix, service) }

// PortUnit returns the name of the transient unit that forwards a host port into the VM.
func PortUnit(id string, port int) string {
	return fmt.Sprintf("claude-vm-port-%d@%s.service", port, id)
}

// Units returns the names of the units of an instance.
func Units(id string) []string {
	var units []string
	for _, p := range Parts {
		units = append(units, p.Unit(id))
	}
	return units
}

// Configured returns the names of the units of an instance that have drop-ins with
// settings.
func Configured(id string) []string {
	var units []string
	for _, p := range Parts {
		if p.Settings != 0 {
			units = append(units, p.Unit(id))
		}
	}
	return units
}

// UnitFiles returns the names of the installed unit files.
func UnitFiles() []string { return append(Units(""), SnapshotUnit(""), Slice) }

// Patterns returns patterns that match all units of all instances, and of snapshots.
func Patterns() []string { return append(Units("*"), PortUnits, SnapshotUnit("*")) }

// UnitID returns the id of the instance that a unit belongs to; empty if the unit
// belongs to no instance.
func UnitID(name string) string {
	template, rest, _ := strings.Cut(name, "@")
	suffix := filepath.Ext(rest)
	if suffix != service && suffix != AskPath.Suffix || template == snapshotTemplate || template != VM.Name && !strings.HasPrefix(template, VM.Name+"-") {
		return ""
	}
	return strings.TrimSuffix(rest, suffix)
}

// maxID returns the maximum length of an id in bytes. The names of all units and of
// their drop-in directories must not exceed 255 bytes, the limit for file names.
func maxID() int {
	longest := 0
	for _, p := range Parts {
		n := len(p.Unit(""))
		if p.Settings != 0 {
			n += len(".d")
		}
		longest = max(longest, n)
	}
	return 255 - longest
}
