// Package manager controls units of systemd's user manager over D-Bus. It does not
// depend on what the units are for.
package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// ErrNoManager is wrapped by the error of Dial and DialDirect.
var ErrNoManager = errors.New("cannot connect to the systemd user manager")

// ErrLost is returned after the connection was closed, for example at logout.
var ErrLost = errors.New("lost the connection to the user manager")

// Manager is a connection to the user manager.
type Manager struct {
	units *systemd.Conn
	// calls is the connection that go-systemd uses for method calls. go-systemd has
	// no RefUnit, whose effect lasts as long as the connection that called it.
	calls *dbus.Conn
	// conns are the two connections of units: for method calls, and for signals.
	conns []*dbus.Conn
	// subscribe runs once: the manager rejects a second subscription.
	subscribe func() error
}

// Unit is the state of one unit at one time.
type Unit struct {
	Name        string
	Description string
	LoadState   string // loaded, not-found, masked, …
	ActiveState string // active, activating, deactivating, inactive, failed
	Result      string // success, exit-code, timeout, oom-kill, …
	StatusText  string
	Fragment    string // path of the unit file
	Source      string // SourcePath=, the file the unit was generated from
	DropIns     []string
	Stale       bool // one of these files has changed since the manager read it
	MainPID     uint32
	Since       time.Time // when ActiveState last changed
	Started     time.Time // when the unit last left the state inactive
	// Memory is the usage of all processes. Both are zero if unknown, MemoryMax also if
	// there is no limit.
	Memory, MemoryMax uint64 // in bytes
	CPU               time.Duration

	path dbus.ObjectPath
}

// Running reports whether the unit is active or starting.
func (u Unit) Running() bool { return u.ActiveState == "active" || u.ActiveState == "activating" }

// Gone reports whether no process of the unit is left.
func (u Unit) Gone() bool { return u.ActiveState == "inactive" || u.ActiveState == "failed" }

// Dial connects to the manager of the calling user. The connection stays open when ctx
// is canceled, because callers stop what they started after an interrupt.
func Dial(ctx context.Context) (*Manager, error) {
	return dial(ctx, func() (*dbus.Conn, error) {
		c, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(context.WithoutCancel(ctx)))
		if err != nil {
			return nil, err
		}
		if err = c.Auth(nil); err == nil {
			err = c.Hello()
		}
		if err != nil {
			c.Close()
		}
		return c, err
	})
}

// DialDirect connects to the manager's private socket in the runtime directory. Units
// use it because at logout the bus may stop before they do. Ref and Watch do not work
// without a bus.
func DialDirect(ctx context.Context, runtimeDir string) (*Manager, error) {
	address := "unix:path=" + dbus.EscapeBusAddressValue(runtimeDir+"/systemd/private")
	return dial(ctx, func() (*dbus.Conn, error) {
		c, err := dbus.Dial(address, dbus.WithContext(context.WithoutCancel(ctx)))
		if err != nil {
			return nil, err
		}
		if err = c.Auth(nil); err != nil {
			c.Close()
		}
		return c, err
	})
}

func dial(ctx context.Context, connect func() (*dbus.Conn, error)) (*Manager, error) {
	m := &Manager{}
	units, err := systemd.NewConnection(func() (*dbus.Conn, error) {
		c, err := connect()
		if err == nil {
			m.conns = append(m.conns, c)
			m.calls = m.conns[0]
		}
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNoManager, err)
	}
	m.units = units
	m.subscribe = sync.OnceValue(units.Subscribe)
	if _, err := m.units.SystemStateContext(ctx); err != nil {
		err = m.orLost(err)
		m.Close()
		return nil, fmt.Errorf("%w: %v", ErrNoManager, err)
	}
	return m, nil
}

// Close closes the connection, which undoes Ref.
func (m *Manager) Close() { m.units.Close() }

// Ref keeps a unit loaded, with its last result, until m is closed.
func (m *Manager) Ref(ctx context.Context, name string) error {
	o := m.calls.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	return o.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.RefUnit", 0, name).Err
}

// Unref undoes Ref. A unit without references is unloaded and read again when needed.
func (m *Manager) Unref(ctx context.Context, name string) error {
	o := m.calls.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	return o.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.UnrefUnit", 0, name).Err
}

// orLost returns err, or ErrLost if the connection is closed.
func (m *Manager) orLost(err error) error {
	if slices.ContainsFunc(m.conns, func(c *dbus.Conn) bool { return c.Context().Err() != nil }) {
		return ErrLost
	}
	return err
}

// Reload makes the manager run its generators and read all unit files again.
func (m *Manager) Reload(ctx context.Context) error { return m.units.ReloadContext(ctx) }

// Unit returns the state of a unit, read in one call.
func (m *Manager) Unit(ctx context.Context, name string) (Unit, error) {
	p, err := m.units.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return Unit{}, m.orLost(err)
	}
	u := Unit{Name: name}
	u.set(p)
	return u, nil
}

// Job is a queued or running job of a unit.
type Job struct {
	ID   string // unique among all managers since boot; empty if there is no job
	Type string // start, stop, restart, …
}

// Job returns the unit's job. A restart job keeps its id when its stop part is done and
// its type becomes start.
func (m *Manager) Job(ctx context.Context, name string) (Job, error) {
	p, err := m.units.GetUnitPropertyContext(ctx, name, "Job")
	if err != nil {
		return Job{}, err
	}
	var id uint32
	var path dbus.ObjectPath
	fields, _ := p.Value.Value().([]any)
	if err := dbus.Store(fields, &id, &path); err != nil || id == 0 {
		return Job{}, err
	}
	const jobType = "org.freedesktop.systemd1.Job.JobType"
	value, err := m.calls.Object("org.freedesktop.systemd1", path).GetProperty(jobType)
	if err != nil {
		return Job{}, err
	}
	text, _ := value.Value().(string)
	// Each manager counts its jobs from 1. Callers store ids in files, and these remain when
	// a manager is killed. So the id also has the manager's start time.
	started, err := m.units.GetManagerProperty("UserspaceTimestampMonotonic")
	if err != nil {
		return Job{}, err
	}
	return Job{ID: fmt.Sprintf("%s.%d", strings.TrimPrefix(started, "@t "), id), Type: text}, nil
}

// UnitPath returns the directories from which the manager loads unit files.
func (m *Manager) UnitPath() ([]string, error) {
	o := m.calls.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	value, err := o.GetProperty("org.freedesktop.systemd1.Manager.UnitPath")
	if err != nil {
		return nil, err
	}
	path, _ := value.Value().([]string)
	return path, nil
}

// ServiceEnvironment returns the variables in Environment= of a service.
func (m *Manager) ServiceEnvironment(ctx context.Context, name string) (map[string]string, error) {
	p, err := m.units.GetServicePropertyContext(ctx, name, "Environment")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	entries, _ := p.Value.Value().([]string)
	for _, entry := range entries {
		key, value, _ := strings.Cut(entry, "=")
		found[key] = value
	}
	return found, nil
}

// Watch calls see with the unit's current state and again after each change, until see
// returns true. It returns an error if ctx is done or the connection is lost before.
func (m *Manager) Watch(ctx context.Context, name string, see func(Unit) bool) error {
	if err := m.subscribe(); err != nil {
		return m.orLost(err)
	}
	changes := make(chan *systemd.PropertiesUpdate, 64)
	failed := make(chan error, 1)
	m.units.SetPropertiesSubscriber(changes, failed)
	defer m.units.SetPropertiesSubscriber(nil, nil)
	for {
		u, err := m.Unit(ctx, name)
		if err != nil {
			return err
		}
		if see(u) {
			return nil
		}
		if err := m.next(ctx, func(n string) bool { return n == name }, changes, failed); err != nil {
			return err
		}
	}
}

// next waits for a change of a unit whose name matches. It may also return without a change
// if there are too many changes to receive.
func (m *Manager) next(ctx context.Context, match func(name string) bool, changes <-chan *systemd.PropertiesUpdate, failed <-chan error) error {
	for {
		select {
		case c := <-changes:
			if match(c.UnitName) {
				return nil
			}
		case <-failed:
			return nil // the channel was full, so something has changed
		case <-m.calls.Context().Done():
			return ErrLost
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
