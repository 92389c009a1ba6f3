package step

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

const (
	// notifications is the D-Bus name and interface of the Desktop Notifications
	// Specification.
	notifications = "org.freedesktop.Notifications"
	// maxNotifications is the number of requests that are shown at the same time.
	maxNotifications = 3
	// askInterval is how often the gateway is asked for its requests while one is shown.
	askInterval = 2 * time.Second
)

// asker shows the requests of one guest.
type asker struct {
	dir, gateway string
	bus          *dbus.Conn
	service      dbus.BusObject
	shown        map[uint32]string // rules, by the number of their notification
}

// ask shows requests of the guest as desktop notifications until none is open.
func ask(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	a := &asker{dir: args[0], gateway: paths.GatewayDirectory(instance.Escape(args[0])), shown: map[uint32]string{}}
	// The file triggers this unit. Requests from now on create it again.
	if err := os.Remove(filepath.Join(a.gateway, control.AskedFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	if a.bus, err = dbus.ConnectSessionBus(dbus.WithContext(ctx)); err != nil {
		return 0, a.ignored(err)
	}
	defer a.bus.Close()
	if err := a.bus.AddMatchSignal(dbus.WithMatchInterface(notifications)); err != nil {
		return 0, err
	}
	signals := make(chan *dbus.Signal, 16)
	a.bus.Signal(signals)
	a.service = a.bus.Object(notifications, "/org/freedesktop/Notifications")
	return 0, a.serve(ctx, signals)
}

// ignored reports why no notification is shown, which is no failure: claude-vm-ctl network
// shows the requests, too.
func (a *asker) ignored(err error) error {
	fmt.Fprintf(os.Stderr, "requests are not shown on the desktop: %s\n", failure.OneLine(err.Error()))
	return nil
}

func (a *asker) serve(ctx context.Context, signals chan *dbus.Signal) error {
	defer a.closeAll()
	answered := map[string]bool{} // or closed, so not to be shown again
	ticks := time.NewTicker(askInterval)
	defer ticks.Stop()
	for {
		status, err := control.Ask(ctx, a.gateway, nil)
		if err != nil {
			return nil // the VM stops
		}
		a.closeAllBut(status.Requests)
		for _, r := range status.Requests {
			if answered[r.Rule] || len(a.shown) == maxNotifications || a.isShown(r.Rule) {
				continue
			}
			if err := a.show(ctx, r); err != nil {
				return a.ignored(err)
			}
		}
		if len(a.shown) == 0 {
			return nil
		}
		select {
		case s, open := <-signals:
			if !open {
				return nil // the session has ended
			}
			if rule := a.handle(ctx, s); rule != "" {
				answered[rule] = true
			}
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// show shows a request.
func (a *asker) show(ctx context.Context, r control.Asked) error {
	body := failure.OneLine(a.dir)
	if r.Reason != "" {
		body += fmt.Sprintf("\nThe guest's reason: %q", r.Reason)
	}
	var capabilities []string
	if err := a.service.CallWithContext(ctx, notifications+".GetCapabilities", 0).Store(&capabilities); err != nil {
		return err
	}
	if slices.Contains(capabilities, "body-markup") {
		body = html.EscapeString(body)
	}
	actions := []string{"allow", "Allow", "deny", "Deny"}
	const never = int32(0) // expires
	var id uint32
	err := a.service.CallWithContext(ctx, notifications+".Notify", 0, "claude-vm", uint32(0), "dialog-question",
		"Claude asks to connect to "+r.Rule, body, actions, map[string]dbus.Variant{"category": dbus.MakeVariant("network")}, never).Store(&id)
	if err == nil {
		a.shown[id] = r.Rule
	}
	return err
}

// handle applies the user's answer to a request, and returns the rule if it is now answered
// or its notification was closed.
func (a *asker) handle(ctx context.Context, s *dbus.Signal) (rule string) {
	if len(s.Body) < 2 {
		return ""
	}
	id, _ := s.Body[0].(uint32)
	rule = a.shown[id]
	if rule == "" {
		return "" // of another program
	}
	switch s.Name {
	case notifications + ".NotificationClosed":
		delete(a.shown, id)
		return rule
	case notifications + ".ActionInvoked":
	default:
		return ""
	}
	var change control.Change
	switch s.Body[1] {
	case "allow":
		change.Allow = []string{rule}
	case "deny":
		change.Deny = []string{rule}
	default:
		return ""
	}
	if _, err := control.Ask(ctx, a.gateway, &change); err != nil {
		fmt.Fprintln(os.Stderr, failure.OneLine(err.Error()))
	}
	a.close(id)
	return rule
}

func (a *asker) isShown(rule string) bool {
	for _, other := range a.shown {
		if other == rule {
			return true
		}
	}
	return false
}

// closeAllBut closes the notifications of requests that were answered elsewhere.
func (a *asker) closeAllBut(requests []control.Asked) {
	for id, rule := range a.shown {
		if !slices.ContainsFunc(requests, func(r control.Asked) bool { return r.Rule == rule }) {
			a.close(id)
		}
	}
}

func (a *asker) closeAll() { a.closeAllBut(nil) }

func (a *asker) close(id uint32) {
	delete(a.shown, id)
	a.service.Go(notifications+".CloseNotification", dbus.FlagNoReplyExpected, nil, id)
}
