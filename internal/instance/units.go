package instance

import "strings"

// PortUnits fits units that lead a port into a running VM.
const PortUnits = "claude-vm-port-*@*.service"

// Patterns, as of systemctl, fit the units that say how instances are.
func Patterns() []string {
	return []string{Unit("*"), ShareUnit("*"), SetupUnit("*"), PortUnits}
}

// UnitID gives the id of the instance that a unit belongs to; empty if it belongs
// to none.
func UnitID(name string) string {
	template, id, _ := strings.Cut(name, "@")
	id, found := strings.CutSuffix(id, ".service")
	if !found || template != "claude-vm" && !strings.HasPrefix(template, "claude-vm-") {
		return ""
	}
	return id
}
