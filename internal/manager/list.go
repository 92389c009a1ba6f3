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

// property is a D-Bus property of a unit. iface is the last part of its interface's name.
type property struct{ iface, name string }

var fillProperties = []property{
	{"Unit", "StateChangeTimestamp"}, {"Unit", "SourcePath"},
	{"Service", "Result"}, {"Service", "StatusText"}, {"Service", "MainPID"},
	{"Service", "MemoryCurrent"}, {"Service", "MemoryMax"}, {"Service", "CPUUsageNSec"},
}

// Fill reads the fields of services that List has left out, except Fragment, DropIns, Stale
// and Started, which it resets. For a unit that is no longer loaded, all of these fields
// are zero afterwards; this is not an error.
func (m *Manager) Fill(ctx context.Context, units []*Unit) error {
	return m.read(ctx, units, fillProperties)
}

var briefProperties = []property{
	{"Unit", "LoadState"}, {"Unit", "ActiveState"}, {"Unit", "FragmentPath"}, {"Unit", "DropInPaths"}, {"Unit", "NeedDaemonReload"},
}

// Brief returns the named units, in that order. Of the fields, it reads LoadState,
// ActiveState, Fragment, DropIns and Stale.
func (m *Manager) Brief(ctx context.Context, names ...string) ([]Unit, error) {
	units := make([]Unit, len(names))
	var all []*Unit
	for i, name := range names {
		units[i] = Unit{Name: name, path: dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + systemd.PathBusEscape(name))}
		all = append(all, &units[i])
	}
	err := m.read(ctx, all, briefProperties)
	return units, err
}

// read gets the properties of all units and sets the fields of the units. A property that
// the manager refuses to return, for example of a unit that is not loaded, counts as
// missing. read sends all its calls before it waits for replies. It gets single properties,
// because GetAll for a service takes the manager some milliseconds.
func (m *Manager) read(ctx context.Context, units []*Unit, properties []property) error {
	var calls []*dbus.Call
	for _, u := range units {
		o := m.calls.Object("org.freedesktop.systemd1", u.path)
		for _, p := range properties {
			calls = append(calls, o.GoWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, nil, "org.freedesktop.systemd1."+p.iface, p.name))
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

// set sets all fields except Name from D-Bus properties. A missing property resets its field
// to zero; only Description keeps its value.
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
// matches, until ctx is done. Changes that come before the value is read are merged. A
// Manager has one subscriber: do not use Changes and Watch at the same time.
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
	if isDBusError(err, "org.freedesktop.systemd1.NoSuchProcess") || isDBusError(err, "System.Error.ESRCH") {
		return ErrNoProcess
	}
	return err
}

// ResetFailed resets the state of a failed unit to inactive. It is no error if the unit is
// not loaded.
func (m *Manager) ResetFailed(ctx context.Context, name string) error {
	err := m.units.ResetFailedUnitContext(ctx, name)
	if isDBusError(err, "org.freedesktop.systemd1.NoSuchUnit") {
		return nil
	}
	return err
}

// isDBusError reports whether err is a D-Bus error with this name.
func isDBusError(err error, name string) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && answer.Name == name
}
