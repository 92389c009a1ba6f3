//go:build e2e

package e2e

import (
	"testing"

	"github.com/godbus/dbus/v5"
)

// desktop is a service for desktop notifications; the test host has no desktop.
type desktop struct {
	bus    *dbus.Conn
	shown  chan notification
	closed chan uint32
	last   uint32
}

type notification struct {
	id            uint32
	summary, body string
	actions       []string
}

const notifications = "org.freedesktop.Notifications"

func newDesktop(t testing.TB) *desktop {
	t.Helper()
	bus, err := dbus.ConnectSessionBus()
	if err != nil {
		t.Fatal(err)
	}
	d := &desktop{bus: bus, shown: make(chan notification, 16), closed: make(chan uint32, 16)}
	t.Cleanup(func() { bus.Close() })
	if err := bus.Export(d, "/org/freedesktop/Notifications", notifications); err != nil {
		t.Fatal(err)
	}
	if reply, err := bus.RequestName(notifications, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return d
}

// The methods of the interface.

func (d *desktop) GetCapabilities() ([]string, *dbus.Error) {
	return []string{"actions", "body", "body-markup"}, nil
}

func (d *desktop) Notify(_ string, _ uint32, _, summary, body string, actions []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	d.last++
	d.shown <- notification{d.last, summary, body, actions}
	return d.last, nil
}

func (d *desktop) CloseNotification(id uint32) *dbus.Error {
	d.closed <- id
	d.bus.Emit("/org/freedesktop/Notifications", notifications+".NotificationClosed", id, uint32(3))
	return nil
}

// click is what the user does.
func (d *desktop) click(id uint32, action string) {
	d.bus.Emit("/org/freedesktop/Notifications", notifications+".ActionInvoked", id, action)
}
