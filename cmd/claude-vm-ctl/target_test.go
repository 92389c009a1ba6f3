package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

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
