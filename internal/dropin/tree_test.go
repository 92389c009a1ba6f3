package dropin

import (
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// TestSettingsHaveParts checks that each vm.Unit belongs to one part of an instance.
func TestSettingsHaveParts(t *testing.T) {
	v := vm.Default()
	lines, err := v.Base().Lines(&v)
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]string, len(lines))
	for _, p := range instance.Parts {
		if p.Settings != 0 && parts[p.Settings] != "" {
			t.Errorf("%s and %s have the same settings", parts[p.Settings], p.Name)
		}
		parts[p.Settings] = p.Name
	}
	for unit, name := range parts {
		if name == "" {
			t.Errorf("no part has the settings of vm.Unit %d", unit)
		}
	}
}
