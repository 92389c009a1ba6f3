package step

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// serviceEnvironment is the part of manager.Manager that Settings needs.
type serviceEnvironment interface {
	ServiceEnvironment(ctx context.Context, unit string) (map[string]string, error)
}

// Settings returns the settings of the instance on dir from the environment of its units.
// Variables that the user has set in a drop-in of the VM's unit have priority.
func Settings(ctx context.Context, m serviceEnvironment, id, dir string) (vm.VM, error) {
	vmEnvironment, err := m.ServiceEnvironment(ctx, instance.VM.Unit(id))
	if err != nil {
		return vm.VM{}, err
	}
	setupEnvironment, err := m.ServiceEnvironment(ctx, instance.Setup.Unit(id))
	if err != nil {
		return vm.VM{}, err
	}
	return vmfile.Applied(func(name string) string { return cmp.Or(vmEnvironment[name], setupEnvironment[name]) }, dir)
}

// applySettings adds settings to b, which already contains the request.
func applySettings(b *contract.Begin, v vm.VM) {
	b.Arguments = slices.Concat(v.Arguments, b.Arguments)
	for _, variable := range v.Environment {
		name, value, _ := strings.Cut(variable, "=")
		b.Environment[name] = value
	}
	if v.Terminal != vm.TerminalAuto {
		b.Terminal = v.Terminal == vm.TerminalYes
	}
	b.ForwardAgent = v.ForwardAgent
	b.Home = v.Home != vm.HomeEphemeral
	for i, m := range v.Mounts {
		b.Mounts = append(b.Mounts, contract.Mount{Name: m.ShareName(i), Path: m.Guest})
	}
}
