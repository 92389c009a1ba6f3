package instance

import (
	"fmt"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// Part is one unit of an instance: a template of units/ with the id filled in.
type Part struct {
	Name string // of the template, without "@.service"
	What string // what the unit is for
	When When
	// Settings selects the settings of .vm files that become drop-ins of the unit; zero
	// if the unit has no drop-ins.
	Settings vm.Unit
}

// When is when a part runs.
type When int

const (
	Always    When = iota // a start of the VM starts it and fails if it fails
	IfAsked               // a start of the VM starts it, if a setting asks for it
	OnFailure             // when another part has failed
)

// The parts of an instance.
var (
	Runtime   = &Part{Name: "claude-vm-runtime", What: "removes what setup created, when no other part needs it"}
	Setup     = &Part{Name: "claude-vm-setup", What: "checks the host and creates the runtime directory", Settings: vm.Setup}
	Virtiofsd = &Part{Name: "claude-vm-virtiofsd", What: "virtiofsd, which shares the work directory", Settings: vm.Share}
	VM        = &Part{Name: "claude-vm", What: "QEMU; stands for the whole instance", Settings: vm.Machine}
	SSHAgent  = &Part{Name: "claude-vm-ssh-agent", What: "connects the guest to an SSH agent", When: IfAsked}
	ShareLost = &Part{Name: "claude-vm-share-lost", What: "stops a VM whose virtiofsd has died", When: OnFailure}
)

// Parts lists the parts in the order in which they start. Everything that is done to
// each unit of an instance ranges over it.
var Parts = []*Part{Runtime, Setup, Virtiofsd, VM, SSHAgent, ShareLost}

// Slice is the unit that contains the units of all instances.
const Slice = `app-claude\x2dvm.slice`

// PortUnits matches the transient units that forward ports into a running VM.
const PortUnits = "claude-vm-port-*@*.service"

// Unit is the name of the part's unit for an instance; of the template without an
// id, and with "*" a pattern that systemctl takes.
func (p *Part) Unit(id string) string { return p.Name + "@" + id + ".service" }

// PortUnit is the transient unit that forwards a port of the host into the VM.
func PortUnit(id string, port int) string {
	return fmt.Sprintf("claude-vm-port-%d@%s.service", port, id)
}

// Units lists the units of an instance.
func Units(id string) []string {
	var units []string
	for _, p := range Parts {
		units = append(units, p.Unit(id))
	}
	return units
}

// Configured lists those units of an instance that have drop-ins for settings.
func Configured(id string) []string {
	var units []string
	for _, p := range Parts {
		if p.Settings != 0 {
			units = append(units, p.Unit(id))
		}
	}
	return units
}

// UnitFiles lists the files in units/ that are installed.
func UnitFiles() []string { return append(Units(""), Slice) }

// Patterns match all units of all instances.
func Patterns() []string { return append(Units("*"), PortUnits) }

// UnitID returns the id of the instance that a unit belongs to; empty if it belongs
// to none.
func UnitID(name string) string {
	template, id, _ := strings.Cut(name, "@")
	id, found := strings.CutSuffix(id, ".service")
	if !found || template != VM.Name && !strings.HasPrefix(template, VM.Name+"-") {
		return ""
	}
	return id
}

// maxID is the length in bytes of the longest id with which all unit names, and the
// directories of their drop-ins, are file names.
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
