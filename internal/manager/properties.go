package manager

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Version returns the version of systemd.
func (m *Manager) Version() (string, error) {
	text, err := m.units.GetManagerProperty("Version")
	return strings.Trim(text, `"`), err
}

// ControlGroup returns the manager's cgroup, as a path below the mount point of cgroup v2.
func (m *Manager) ControlGroup() (string, error) {
	text, err := m.units.GetManagerProperty("ControlGroup")
	return strings.Trim(text, `"`), err
}

// FileLimit returns the manager's hard limit of open files, which is the maximum for its
// units.
func (m *Manager) FileLimit(ctx context.Context) (uint64, error) {
	var pid uint32
	err := m.calls.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, "org.freedesktop.systemd1").Store(&pid)
	if err != nil {
		return 0, err
	}
	var limit unix.Rlimit
	err = unix.Prlimit(int(pid), unix.RLIMIT_NOFILE, nil, &limit)
	return limit.Max, os.NewSyscallError("prlimit", err)
}

// Active returns the names of the units that match the pattern and are active, starting
// or stopping.
func (m *Manager) Active(ctx context.Context, pattern string) ([]string, error) {
	states := []string{"active", "activating", "deactivating", "reloading"}
	units, err := m.units.ListUnitsByPatternsContext(ctx, states, []string{pattern})
	names := make([]string, len(units))
	for i, u := range units {
		names[i] = u.Name
	}
	return names, err
}

// Program returns the path of the program in ExecStart= of a service; empty if there is
// none.
func (m *Manager) Program(ctx context.Context, name string) (string, error) {
	path, _, err := m.Command(ctx, name)
	return path, err
}

// Command returns the program and the arguments of the first ExecStart= of a service. Specifiers are
// replaced, variables are not.
func (m *Manager) Command(ctx context.Context, name string) (path string, arguments []string, err error) {
	p, err := m.units.GetServicePropertyContext(ctx, name, "ExecStart")
	if err != nil {
		return "", nil, err
	}
	commands, _ := p.Value.Value().([][]any)
	if len(commands) == 0 || len(commands[0]) < 2 {
		return "", nil, nil
	}
	path, _ = commands[0][0].(string)
	arguments, _ = commands[0][1].([]string)
	return path, arguments, nil
}

// ResetFailedAll resets all failed units that match the patterns.
func (m *Manager) ResetFailedAll(ctx context.Context, patterns ...string) error {
	units, err := m.units.ListUnitsByPatternsContext(ctx, []string{"failed"}, patterns)
	for _, u := range units {
		err = errors.Join(err, m.units.ResetFailedUnitContext(ctx, u.Name))
	}
	return err
}
