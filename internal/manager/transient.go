package manager

import (
	"context"
	"errors"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// ErrExists is returned by StartTransient if a unit with this name is loaded.
var ErrExists = errors.New("the unit already exists")

// Transient describes a transient service with Type=notify.
type Transient struct {
	Name, Description string
	Command           []string // absolute path and arguments
	BindsTo           string   // the service stops when this unit stops
	Slice             string
	Success           int // exit status that counts as success in addition to 0
}

// StartTransient starts t and waits until it is ready. It returns the job's result, as
// Start does.
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
