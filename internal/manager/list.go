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

// List gives the loaded units whose names fit a pattern. They have their names,
// descriptions and states; Fill reads more.
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

// property is one of a unit, and its interface.
type property struct{ of, name string }

// filled are the properties that Fill reads.
var filled = []property{
	{"Unit", "StateChangeTimestamp"}, {"Unit", "SourcePath"},
	{"Service", "Result"}, {"Service", "StatusText"}, {"Service", "MainPID"},
	{"Service", "MemoryCurrent"}, {"Service", "MemoryMax"}, {"Service", "CPUUsageNSec"},
}

// Fill reads, of services that List gave, all but the files and Started. A unit
// that is gone by now stays as it is.
func (m *Manager) Fill(ctx context.Context, units []*Unit) error {
	return m.read(ctx, units, filled)
}

// brief are the properties that Brief reads.
var brief = []property{
	{"Unit", "LoadState"}, {"Unit", "ActiveState"}, {"Unit", "FragmentPath"}, {"Unit", "DropInPaths"}, {"Unit", "NeedDaemonReload"},
}

// Brief reads what the units and their files are, one after the other.
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

// read asks for properties of units, all at once. GetAll, for all that a service
// has, takes the manager some milliseconds.
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

// set takes properties over; those that are missing are unknown.
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

// Changes gives a channel that has something after each change of a unit that
// match is true of, until ctx is done.
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
			default: // one is waiting
			}
		}
	}()
	return changes, nil
}

// ErrNoProcess says that a service has no main process.
var ErrNoProcess = errors.New("no main process")

// Kill sends a signal to a service's main process.
func (m *Manager) Kill(ctx context.Context, name string, signal unix.Signal) error {
	err := m.units.KillUnitWithTarget(ctx, name, systemd.Main, int32(signal))
	if is(err, "org.freedesktop.systemd1.NoSuchProcess") || is(err, "System.Error.ESRCH") {
		return ErrNoProcess
	}
	return err
}

// ResetFailed makes a unit that failed an inactive one. One that is not loaded is
// none that failed.
func (m *Manager) ResetFailed(ctx context.Context, name string) error {
	err := m.units.ResetFailedUnitContext(ctx, name)
	if is(err, "org.freedesktop.systemd1.NoSuchUnit") {
		return nil
	}
	return err
}

// is says whether err is an answer of this name.
func is(err error, name string) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && answer.Name == name
}
