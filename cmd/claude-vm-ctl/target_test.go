package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
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

func TestStart(t *testing.T) {
	taken := func(v *target, refusal error) {
		offered, err := v.paths.OpenOffer(v.id)
		if err != nil {
			t.Fatal(err)
		}
		defer offered.Close()
		if refusal != nil {
			err = offered.Refuse(failure.Of(refusal))
		} else {
			_, err = offered.Take()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	request := instance.Request{Session: contract.Session{Arguments: []string{"-p"}}}
	for name, c := range map[string]struct {
		units map[*instance.Part]manager.Unit
		job   func(v *target) (string, error)
		want  string // message and hint
	}{
		"it runs": {
			job: func(v *target) (string, error) { taken(v, nil); return "done", nil },
		},
		"another start was first": {
			job:  func(*target) (string, error) { return "done", nil },
			want: "1: another process has just started the VM on /srv/web, with other arguments or options; hint: claude-vm-ctl attach /srv/web",
		},
		"stopped": {
			job:  func(*target) (string, error) { return "canceled", nil },
			want: "122: the VM on /srv/web was stopped while it started; hint: claude-vm-ctl logs /srv/web",
		},
		"stopped without a failed unit": {
			job:  func(*target) (string, error) { return "failed", nil },
			want: "122: the VM on /srv/web was stopped while it started; hint: claude-vm-ctl logs /srv/web",
		},
		"setup refuses": {
			units: map[*instance.Part]manager.Unit{instance.Setup: {ActiveState: "failed", StatusText: "no\nroom"}},
			job: func(v *target) (string, error) {
				taken(v, failure.New(failure.Usage, "make room", "no room"))
				return "dependency", nil
			},
			want: "121: no room; hint: make room",
		},
		"setup refuses another's start": {
			units: map[*instance.Part]manager.Unit{instance.Setup: {ActiveState: "failed", StatusText: "no\nroom"}},
			job:   func(*target) (string, error) { return "dependency", nil },
			want:  "121: no room; hint: claude-vm-ctl doctor",
		},
		"a part fails before the VM": {
			units: map[*instance.Part]manager.Unit{
				instance.Virtiofsd: {ActiveState: "failed", StatusText: "no socket", Result: "exit-code"},
				instance.VM:        {ActiveState: "failed", StatusText: "no share", Result: "exit-code"},
			},
			job:  func(*target) (string, error) { return "dependency", nil },
			want: "122: the VM on /srv/web did not start: no socket; hint: claude-vm-ctl logs /srv/web",
		},
		"a part that the VM does not need has failed": {
			units: map[*instance.Part]manager.Unit{instance.SSHAgent: {ActiveState: "failed", StatusText: "no agent", Result: "exit-code"}},
			job:   func(*target) (string, error) { return "failed", nil },
			want:  "122: the VM on /srv/web was stopped while it started; hint: claude-vm-ctl logs /srv/web",
		},
		"the VM fails": {
			units: map[*instance.Part]manager.Unit{instance.VM: {ActiveState: "failed", StatusText: "QEMU exited with status 1", Result: "exit-code"}},
			job:   func(*target) (string, error) { return "failed", nil },
			want:  "122: the VM on /srv/web did not start: QEMU exited with status 1; hint: claude-vm-ctl logs /srv/web",
		},
		"the VM does not come up in time and is stopped": {
			units: map[*instance.Part]manager.Unit{instance.VM: {ActiveState: "inactive", StatusText: "too late", Result: "timeout"}},
			job:   func(*target) (string, error) { return "timeout", nil },
			want:  "122: the VM on /srv/web did not start: too late; hint: claude-vm-ctl logs /srv/web",
		},
		"no job": {
			job:  func(*target) (string, error) { return "", errors.New("unit is masked") },
			want: "122: start claude-vm@srv-web.service: unit is masked; hint: claude-vm-ctl doctor",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &fakeManager{units: map[string]manager.Unit{}}
			v := testTarget(t, m)
			m.job = func(_ context.Context, verb, unit string) (string, error) {
				if verb != "start" || unit != v.unit() {
					t.Errorf("%s %s", verb, unit)
				}
				for p, u := range c.units { // they have failed by now
					m.units[p.Unit(v.id)] = u
				}
				return c.job(v)
			}
			err := v.start(t.Context(), quiet(t), request, nil)
			if got := describeError(err); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if left, err := os.ReadDir(filepath.Join(v.paths.Runtime, "claude-vm")); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// TestStartIsInterrupted: nothing is left of a start that is interrupted.
func TestStartIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			stops bool
			want  string
		}{
			{true, "1: context canceled; hint: "},
			{false, "1: interrupted, but claude-vm@srv-web.service was not stopped: timed out after 1m0s; hint: claude-vm-ctl stop /srv/web"},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			m := &fakeManager{}
			m.job = func(ctx context.Context, verb, _ string) (string, error) {
				if verb == "start" {
					cancel()
				} else if c.stops {
					return "done", nil
				}
				<-ctx.Done()
				return "", context.Cause(ctx)
			}
			v := testTarget(t, m)
			err := v.start(ctx, quiet(t), instance.Request{}, nil)
			if got := describeError(err); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if want := []string{"stop " + v.unit()}; !slices.Equal(m.calls, want) {
				t.Errorf("calls: %q, want %q", m.calls, want)
			}
		}
	})
}

// TestRestart: it is the unit's restart, and a reason for refusing it is reported.
func TestRestart(t *testing.T) {
	m := &fakeManager{units: map[string]manager.Unit{}}
	v := testTarget(t, m)
	m.job = func(_ context.Context, verb, unit string) (string, error) {
		m.calls = append(m.calls, verb+" "+unit)
		return "done", nil
	}
	if err := v.restart(t.Context(), quiet(t)); err != nil {
		t.Error(err)
	}
	if want := []string{"restart " + v.unit()}; !slices.Equal(m.calls, want) {
		t.Errorf("calls: %q, want %q", m.calls, want)
	}
	m.job = func(context.Context, string, string) (string, error) {
		m.units[instance.Setup.Unit(v.id)] = manager.Unit{ActiveState: "failed", StatusText: "no room"}
		offered, err := v.paths.OpenOffer(v.id)
		if err != nil {
			t.Fatal(err)
		}
		defer offered.Close()
		return "dependency", offered.Refuse(failure.Of(failure.New(failure.HostUnable, "make room", "no room")))
	}
	if got, want := describeError(v.restart(t.Context(), quiet(t))), "121: no room; hint: make room"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestJoin(t *testing.T) {
	starting, running := manager.Unit{ActiveState: "activating"}, manager.Unit{ActiveState: "active"}
	const absent = "120: no VM is running on /srv/web; hint: claude-vm-ctl start /srv/web"
	for name, c := range map[string]struct {
		out       func(*testing.T) *output
		changes   bool
		now       manager.Unit
		states    []manager.Unit
		interrupt bool
		want      string
	}{
		"with arguments": {
			out: onPTY, changes: true, now: running,
			want: "1: a VM is already running on /srv/web; its options and Claude's arguments cannot be changed; hint: claude-vm-ctl attach /srv/web",
		},
		"without a terminal": {
			out: quiet, now: running,
			want: "1: a VM is already running on /srv/web; attaching to it needs a terminal; hint: claude-vm-ctl attach /srv/web",
		},
		// There is no VM to attach to: this is as far as it comes here.
		"it runs": {out: onPTY, now: running, want: absent},
		"it starts, and runs": {
			out: onPTY, now: starting, states: []manager.Unit{starting, starting, running}, want: absent,
		},
		"it starts, and fails": {
			out: onPTY, now: starting,
			states: []manager.Unit{starting, {ActiveState: "failed", Result: "exit-code", StatusText: "no\nroom"}},
			want:   "123: the VM on /srv/web failed: no room; hint: claude-vm-ctl logs /srv/web",
		},
		"interrupted": {
			out: onPTY, now: starting, interrupt: true,
			want: "130: interrupted; the VM continues to start; hint: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := testTarget(t, &fakeManager{states: c.states})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.interrupt {
				time.AfterFunc(10*time.Millisecond, cancel)
			}
			_, err := v.join(ctx, c.out(t), c.now, c.changes)
			if got := describeError(err); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestLost(t *testing.T) {
	for name, c := range map[string]struct {
		states []manager.Unit
		want   string
	}{
		"stopped": {
			states: []manager.Unit{{ActiveState: "active"}, {ActiveState: "deactivating"}, {ActiveState: "inactive", Result: "success", StatusText: "Shut down"}},
			want:   "123: the VM on /srv/web was stopped; hint: claude-vm-ctl logs /srv/web",
		},
		"failed": {
			states: []manager.Unit{{ActiveState: "failed", Result: "signal", StatusText: "QEMU was killed by SIGKILL"}},
			want:   "123: the VM on /srv/web failed: QEMU was killed by SIGKILL; hint: claude-vm-ctl logs /srv/web",
		},
		"failed without a reason": {
			states: []manager.Unit{{ActiveState: "failed", Result: "oom-kill"}},
			want:   "123: the VM on /srv/web failed: result oom-kill; hint: claude-vm-ctl logs /srv/web",
		},
		"it runs on": {
			states: []manager.Unit{{ActiveState: "active"}},
			want:   "123: lost the connection to the VM on /srv/web, which still runs; hint: claude-vm-ctl logs /srv/web",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := testTarget(t, &fakeManager{states: c.states})
				if got := describeError(v.lost(t.Context())); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// TestAwaitEnd: a guest that does not power off is stopped, also after an interrupt.
func TestAwaitEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		m := &fakeManager{states: []manager.Unit{{ActiveState: "active"}, {ActiveState: "deactivating"}, {ActiveState: "inactive"}}}
		v := testTarget(t, m)
		if err := v.awaitEnd(ctx, quiet(t)); err != nil || m.calls != nil {
			t.Errorf("of a guest that powers off: %v, %q", err, m.calls)
		}
		m.states = m.states[:1]
		began := time.Now()
		if err := v.awaitEnd(ctx, quiet(t)); err != nil || !slices.Equal(m.calls, []string{"stop " + v.unit()}) {
			t.Errorf("of a guest that does not: %v, %q", err, m.calls)
		}
		if got := time.Since(began); got != powerOffTimeout {
			t.Errorf("stopped after %v, want %v", got, powerOffTimeout)
		}
	})
}

// TestPartIsEverywhere: a unit that is added to the table is in everything that is done
// to the units of an instance.
func TestPartIsEverywhere(t *testing.T) {
	defer func(parts []*instance.Part) { instance.Parts = parts }(instance.Parts)
	helper := &instance.Part{Name: "claude-vm-helper"}
	instance.Parts = append(slices.Clone(instance.Parts), helper)
	unit := helper.Unit("srv-web")
	m := &fakeManager{units: map[string]manager.Unit{
		unit: {LoadState: "loaded", ActiveState: "failed", Result: "exit-code", StatusText: "no helper"},
	}}
	v := testTarget(t, m)

	if args := journalOfAll(v.id); !slices.Contains(args, "--unit="+unit) {
		t.Errorf("logs: %q", args)
	}
	r, err := v.report(t.Context(), manager.Unit{Name: v.unit(), ActiveState: "inactive"})
	if err != nil || r.FailedUnit != unit || r.Status != "no helper" || r.Units[len(r.Units)-1].Name != unit {
		t.Errorf("status: %+v, %v", r, err)
	}
	offer, err := v.paths.Offer(v.id)
	if err != nil {
		t.Fatal(err)
	}
	defer offer.Withdraw()
	if got := describeError(v.explain(t.Context(), time.Now(), offer)); !strings.Contains(got, "did not start: no helper;") {
		t.Errorf("a failed start: %s", got)
	}
	if err := v.finish(t.Context(), nil); err != nil || !slices.Contains(m.calls, "reset-failed "+unit) {
		t.Errorf("kill: %q, %v", m.calls, err)
	}
	if got := instance.Patterns(); !slices.Contains(got, "claude-vm-helper@*.service") {
		t.Errorf("list and uninstall: %q", got)
	}
	// What link, uninstall and doctor range over, and the tests of exposure, by Parts.
	dir := t.TempDir()
	link := filepath.Join(dir, helper.Unit(""))
	if err := os.Symlink("/elsewhere/"+helper.Unit(""), link); err != nil {
		t.Fatal(err)
	}
	removed, err := unlink(dir, "")
	if diff := cmp.Diff([]string{link}, removed); diff != "" || err != nil {
		t.Errorf("uninstall mismatch (-want +got):\n%s%v", diff, err)
	}
}

// describeError is an error, its exit status and its hint, in one line; empty without one.
func describeError(err error) string {
	if err == nil {
		return ""
	}
	e := failure.Of(err)
	return fmt.Sprintf("%d: %v; hint: %s", e.Status, e, e.Hint)
}
