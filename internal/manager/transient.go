package manager

import (
	"context"
	"errors"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// ErrExists says that a unit of the name is loaded already.
var ErrExists = errors.New("the unit exists already")

// Transient is a service that lasts as long as its process. That tells the manager
// when it is ready.
type Transient struct {
	Name, Description string
	Command           []string // an absolute path and arguments
	BindsTo           string   // the unit that it ends with
	Slice             string
	Success           int // an exit status that is none of failure, beside 0
}

// StartTransient starts t and waits until it is ready; the result is "done" or why
// not.
func (m *Manager) StartTransient(ctx context.Context, t Transient) (string, error) {
	property := func(name string, value any) systemd.Property {
		return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
	}
	properties := []systemd.Property{
		systemd.PropDescription(t.Description),
		systemd.PropExecStart(t.Command, false),
		systemd.PropType("notify"),
		systemd.PropSlice(t.Slice),
		property("BindsTo", []string{t.BindsTo}),
		property("After", []string{t.BindsTo}),
		property("SuccessExitStatus", struct{ Statuses, Signals []int32 }{[]int32{int32(t.Success)}, nil}),
		property("CollectMode", "inactive-or-failed"),
		property("NoNewPrivileges", true),
		property("MemoryDenyWriteExecute", true),
	}
	result, err := m.job(ctx, func(ch chan<- string) (int, error) {
		return m.units.StartTransientUnitContext(ctx, t.Name, "fail", properties, ch)
	})
	var e dbus.Error
	if errors.As(err, &e) && e.Name == "org.freedesktop.systemd1.UnitExists" {
		err = ErrExists
	}
	return result, err
}
