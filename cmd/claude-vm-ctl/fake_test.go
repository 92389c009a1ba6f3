package main

import (
	"context"
	"os"
	"testing"

	"github.com/creack/pty"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// fakeManager is a user manager in which nothing runs. What a test does not expect to be
// called panics.
type fakeManager struct {
	unitManager
	units map[string]manager.Unit
	// job is called for each start, stop and restart.
	job func(ctx context.Context, verb, unit string) (string, error)
	// states are what Watch sees, one after the other; then it waits for ctx.
	states []manager.Unit
	calls  []string
}

func (m *fakeManager) Unit(_ context.Context, name string) (manager.Unit, error) {
	u := m.units[name]
	u.Name = name
	return u, nil
}

func (m *fakeManager) Brief(ctx context.Context, names ...string) ([]manager.Unit, error) {
	var units []manager.Unit
	for _, name := range names {
		u, _ := m.Unit(ctx, name)
		if u.ActiveState == "" {
			u.ActiveState = "inactive"
		}
		units = append(units, u)
	}
	return units, nil
}

func (m *fakeManager) List(context.Context, ...string) ([]manager.Unit, error) { return nil, nil }

func (m *fakeManager) Start(ctx context.Context, name string) (string, error) {
	return m.job(ctx, "start", name)
}

func (m *fakeManager) Restart(ctx context.Context, name string) (string, error) {
	return m.job(ctx, "restart", name)
}

func (m *fakeManager) Stop(ctx context.Context, name string) (string, error) {
	m.calls = append(m.calls, "stop "+name)
	if m.job == nil {
		return "done", nil
	}
	return m.job(ctx, "stop", name)
}

func (m *fakeManager) ResetFailed(_ context.Context, name string) error {
	m.calls = append(m.calls, "reset-failed "+name)
	return nil
}

func (m *fakeManager) Watch(ctx context.Context, _ string, see func(manager.Unit) bool) error {
	for _, u := range m.states {
		if see(u) {
			return nil
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// testTarget is an instance on /srv/web, of a user in a temporary directory.
func testTarget(t *testing.T, m *fakeManager) *target {
	t.Helper()
	return &target{
		paths: instance.Paths{Home: t.TempDir(), Runtime: t.TempDir()},
		id:    "srv-web", dir: "/srv/web", manager: m,
	}
}

// quiet is an output to /dev/null.
func quiet(t *testing.T) *output {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return newOutput(null, null, null)
}

// onPTY is an output on a terminal.
func onPTY(t *testing.T) *output {
	t.Helper()
	controller, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { controller.Close(); terminal.Close() })
	return newOutput(terminal, terminal, terminal)
}
