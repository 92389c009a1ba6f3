// Package manager talks to systemd's user manager over D-Bus: start, stop and
// watch units. It knows nothing of what the units are for.
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

// ErrNoManager is wrapped by Dial's error when there is no user manager.
var ErrNoManager = errors.New("no systemd user manager answers")

// ErrLost says that the connection has ended: with a logout, for example.
var ErrLost = errors.New("the connection to the user manager was lost")

// Manager is a connection to the user manager.
type Manager struct {
	units *systemd.Conn
	// calls is the connection below units that go-systemd uses for calls;
	// RefUnit, which it lacks, counts for as long as this one lives.
	calls *dbus.Conn
	conns []*dbus.Conn // both of units
	// The manager refuses a second subscription.
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
	Source      string // SourcePath=, what the unit was made from
	DropIns     []string
	Stale       bool // one of these files has changed since it was read
	MainPID     uint32
	Since       time.Time // of the present ActiveState
	Started     time.Time // the last time
	// Of all its processes; zero if unknown, and the limit if there is none.
	Memory, MemoryMax uint64 // in bytes
	CPU               time.Duration

	path dbus.ObjectPath
}

// Running says whether the unit is up or on its way.
func (u Unit) Running() bool { return u.ActiveState == "active" || u.ActiveState == "activating" }

// Gone says whether nothing of the unit runs.
func (u Unit) Gone() bool { return u.ActiveState == "inactive" || u.ActiveState == "failed" }

// Dial connects to the manager of the calling user. The connection outlives
// ctx: what was begun must be undone after an interrupt.
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

// DialDirect connects to the manager's own socket in the runtime directory, for
// what runs in a unit: at a logout the bus may be gone first. Ref and Watch do
// not work without a bus.
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

// Close ends the connection and releases what Ref held.
func (m *Manager) Close() { m.units.Close() }

// Ref keeps a unit loaded, and with it its last result, while m is open.
func (m *Manager) Ref(ctx context.Context, name string) error {
	o := m.calls.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	return o.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.RefUnit", 0, name).Err
}

// Unref undoes Ref: a unit that nobody needs is read anew when somebody does.
func (m *Manager) Unref(ctx context.Context, name string) error {
	o := m.calls.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	return o.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.UnrefUnit", 0, name).Err
}

// Start starts a unit and waits for the job; the result is "done" or why not.
func (m *Manager) Start(ctx context.Context, name string) (string, error) {
	return m.job(ctx, func(ch chan<- string) (int, error) { return m.units.StartUnitContext(ctx, name, "replace", ch) })
}

// Restart restarts a unit, or starts it if it is not active, and waits for the job.
func (m *Manager) Restart(ctx context.Context, name string) (string, error) {
	return m.job(ctx, func(ch chan<- string) (int, error) { return m.units.RestartUnitContext(ctx, name, "replace", ch) })
}

// Stop stops a unit and waits for the job. A unit that is not loaded is stopped.
func (m *Manager) Stop(ctx context.Context, name string) (string, error) {
	return m.job(ctx, func(ch chan<- string) (int, error) { return m.units.StopUnitContext(ctx, name, "replace", ch) })
}

// Cancel begins to stop a unit, which takes back a start that is under way.
func (m *Manager) Cancel(ctx context.Context, name string) error {
	_, err := m.units.StopUnitContext(ctx, name, "replace", nil)
	return m.orLost(err)
}

func (m *Manager) job(ctx context.Context, call func(chan<- string) (int, error)) (string, error) {
	done := make(chan string, 1)
	if _, err := call(done); err != nil {
		return "", m.orLost(err)
	}
	select {
	case result := <-done:
		return result, nil
	case <-m.calls.Context().Done():
		return "", ErrLost
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// orLost is the error of a call, or ErrLost in its place.
func (m *Manager) orLost(err error) error {
	if slices.ContainsFunc(m.conns, func(c *dbus.Conn) bool { return c.Context().Err() != nil }) {
		return ErrLost
	}
	return err
}

// Reload makes the manager read unit files anew.
func (m *Manager) Reload(ctx context.Context) error { return m.units.ReloadContext(ctx) }

// Unit reads the state of a service, all at one time.
func (m *Manager) Unit(ctx context.Context, name string) (Unit, error) {
	p, err := m.units.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return Unit{}, m.orLost(err)
	}
	u := Unit{Name: name}
	u.set(p)
	return u, nil
}

// Job is what the manager is doing, or about to do, with a unit.
type Job struct {
	ID   string // empty if there is none; no other one's, also of another manager
	Type string // start, stop, restart, …
}

// Job gives the unit's job. The two halves of a restart have one id; the second
// is a start.
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
	// Numbers begin anew with each manager, and one that was killed leaves traces of
	// its jobs.
	began, err := m.units.GetManagerProperty("UserspaceTimestampMonotonic")
	if err != nil {
		return Job{}, err
	}
	return Job{ID: fmt.Sprintf("%s.%d", strings.TrimPrefix(began, "@t "), id), Type: text}, nil
}

// UnitPath lists the directories in which the manager looks for unit files.
func (m *Manager) UnitPath() ([]string, error) {
	o := m.calls.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	value, err := o.GetProperty("org.freedesktop.systemd1.Manager.UnitPath")
	if err != nil {
		return nil, err
	}
	path, _ := value.Value().([]string)
	return path, nil
}

// ServiceEnvironment returns a service's Environment=.
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

// Watch calls see with the unit's state now and after each change, until see
// returns true or ctx is done.
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

// next waits for a change of a unit that match is true of.
func (m *Manager) next(ctx context.Context, match func(name string) bool, changes <-chan *systemd.PropertiesUpdate, failed <-chan error) error {
	for {
		select {
		case c := <-changes:
			if match(c.UnitName) {
				return nil
			}
		case <-failed:
			return nil // the channel was full: something has changed
		case <-m.calls.Context().Done():
			return ErrLost
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
