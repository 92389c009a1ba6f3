package manager

import (
	"context"
	"errors"
	"strings"
)

// Version is systemd's.
func (m *Manager) Version() (string, error) {
	text, err := m.units.GetManagerProperty("Version")
	return strings.Trim(text, `"`), err
}

// Active lists the units of a pattern that are up, or on their way up or down.
func (m *Manager) Active(ctx context.Context, pattern string) ([]string, error) {
	states := []string{"active", "activating", "deactivating", "reloading"}
	units, err := m.units.ListUnitsByPatternsContext(ctx, states, []string{pattern})
	names := make([]string, len(units))
	for i, u := range units {
		names[i] = u.Name
	}
	return names, err
}

// Program gives the path of a service's ExecStart=; empty if it has none.
func (m *Manager) Program(ctx context.Context, name string) (string, error) {
	p, err := m.units.GetServicePropertyContext(ctx, name, "ExecStart")
	if err != nil {
		return "", err
	}
	commands, _ := p.Value.Value().([][]any)
	if len(commands) == 0 || len(commands[0]) == 0 {
		return "", nil
	}
	path, _ := commands[0][0].(string)
	return path, nil
}

// ResetFailedAll resets the units that match the patterns and have failed.
func (m *Manager) ResetFailedAll(ctx context.Context, patterns ...string) error {
	units, err := m.units.ListUnitsByPatternsContext(ctx, []string{"failed"}, patterns)
	for _, u := range units {
		err = errors.Join(err, m.units.ResetFailedUnitContext(ctx, u.Name))
	}
	return err
}
