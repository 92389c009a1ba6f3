package manager

import (
	"context"
	"errors"
	"math"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// List returns the loaded units whose names match a pattern. Only Name, Description,
// LoadState and ActiveState are set; Fill reads more.
func (m *Manager) List(ctx context.Context, patterns ...string) ([]Unit, error) {
	found, err := m.units.ListUnitsByPatternsContext(ctx, nil, patterns)
	if err != nil {
		return nil, m.orLost(err)
	}
	units := make([]Unit, len(found))
	for i, f := range found {
		units[i] = Unit{
			Name: f.Name, Description: f.Description, LoadState: f.LoadState, ActiveState: f.ActiveState, path: f.Path,
		}
	}
	return units, nil
}

// property is a D-Bus property of a unit; of is the interface.
type property struct{ of, name string }

var filled = []property{
	{"Unit", "StateChangeTimestamp"}, {"Unit", "SourcePath"},
	{"Service", "Result"}, {"Service", "StatusText"}, {"Service", "MainPID"},
	{"Service", "MemoryCurrent"}, {"Service", "MemoryMax"}, {"Service", "CPUUsageNSec"},
}

// Fill reads the fields of services that List has left out, except Fragment, DropIns,
// Stale and Started. Units that are no longer loaded remain unchanged.
func (m *Manager) Fill(ctx context.Context, units []*Unit) error {
	return m.read(ctx, units, filled)
}

var brief = []property{
	{"Unit", "LoadState"}, {"Unit", "ActiveState"}, {"Unit", "FragmentPath"}, {"Unit", "DropInPaths"}, {"Unit", "NeedDaemonReload"},
}

// Brief returns the states and the files of the named units, in that order.
func (m *Manager) Brief(ctx context.Context, names ...string) ([]Unit, error) {
	units := make([]Unit, len(names))
	var all []*Unit
	for i, name := range names {
		units[i] = Unit{Name: name, path: dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + systemd.PathBusEscape(name))}
		all = append(all, &units[i])
	}
	err := m.read(ctx, all, brief)
	return units, err
}

// read sends all its calls before it waits for replies. It reads single properties,
// because GetAll for a service takes the manager some milliseconds.
func (m *Manager) read(ctx context.Context, units []*Unit, properties []property) error {
	var calls []*dbus.Call
	for _, u := range units {
		o := m.calls.Object("org.freedesktop.systemd1", u.path)
		for _, p := range properties {
			calls = append(calls, o.GoWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, nil, "org.freedesktop.systemd1."+p.of, p.name))
		}
	}
	for i, u := range units {
		values := map[string]any{"LoadState": u.LoadState, "ActiveState": u.ActiveState}
		for j, p := range properties {
			var value dbus.Variant
			err := (<-calls[i*len(properties)+j].Done).Store(&value)
			var answer dbus.Error
			if err != nil && !errors.As(err, &answer) {
				return err
			}
			values[p.name] = value.Value()
		}
		u.set(values)
	}
	return nil
}

// set sets the fields from D-Bus properties. A missing property resets its field to zero.
func (u *Unit) set(p map[string]any) {
	text := func(key string) string { s, _ := p[key].(string); return s }
	number := func(key string) uint64 {
		if n, _ := p[key].(uint64); n != math.MaxUint64 {
			return n
		}
		return 0
	}
	moment := func(key string) time.Time {
		if t := number(key); t > 0 {
			return time.UnixMicro(int64(t))
		}
		return time.Time{}
	}
	if d := text("Description"); d != "" {
		u.Description = d
	}
	u.LoadState, u.ActiveState = text("LoadState"), text("ActiveState")
	u.Result, u.StatusText = text("Result"), text("StatusText")
	u.Fragment, u.Source = text("FragmentPath"), text("SourcePath")
	u.DropIns, _ = p["DropInPaths"].([]string)
	u.Stale, _ = p["NeedDaemonReload"].(bool)
	u.MainPID, _ = p["MainPID"].(uint32)
	u.Since, u.Started = moment("StateChangeTimestamp"), moment("InactiveExitTimestamp")
	u.Memory, u.MemoryMax = number("MemoryCurrent"), number("MemoryMax")
	u.CPU = time.Duration(number("CPUUsageNSec"))
}

// Changes returns a channel that receives a value after a change of a unit whose name
// matches, until ctx is done. Changes that come before the value is read are merged.
func (m *Manager) Changes(ctx context.Context, match func(name string) bool) (<-chan struct{}, error) {
	if err := m.subscribe(); err != nil {
		return nil, m.orLost(err)
	}
	updates := make(chan *systemd.PropertiesUpdate, 64)
	failed := make(chan error, 1)
	m.units.SetPropertiesSubscriber(updates, failed)
	changes := make(chan struct{}, 1)
	go func() {
		defer m.units.SetPropertiesSubscriber(nil, nil)
		for {
			if err := m.next(ctx, match, updates, failed); err != nil {
				return
			}
			select {
			case changes <- struct{}{}:
			default: // an unread value is in the channel
			}
		}
	}()
	return changes, nil
}

// ErrNoProcess is returned by Kill if the service has no main process.
var ErrNoProcess = errors.New("no main process")

// Kill sends a signal to a service's main process.
func (m *Manager) Kill(ctx context.Context, name string, signal unix.Signal) error {
	err := m.units.KillUnitWithTarget(ctx, name, systemd.Main, int32(signal))
	if is(err, "org.freedesktop.systemd1.NoSuchProcess") || is(err, "System.Error.ESRCH") {
		return ErrNoProcess
	}
	return err
}

// ResetFailed resets the state of a failed unit to inactive. It is no error if the unit is
// not loaded.
func (m *Manager) ResetFailed(ctx context.Context, name string) error {
	err := m.units.ResetFailedUnitContext(ctx, name)
	if is(err, "org.freedesktop.systemd1.NoSuchUnit") {
		return nil
	}
	return err
}

// is reports whether err is a D-Bus error with this name.
func is(err error, name string) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && answer.Name == name
}
