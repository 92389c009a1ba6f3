package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

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
		"a part fails, and others when they are stopped": {
			units: map[*instance.Part]manager.Unit{
				instance.Console: {ActiveState: "failed", StatusText: "of an earlier start", Since: time.Now().Add(-time.Hour)},
				instance.Guard:   {ActiveState: "failed", Result: "signal", Since: time.Now().Add(2 * time.Hour)},
				instance.Scratch: {ActiveState: "failed", StatusText: "no disk", Result: "exit-code", Since: time.Now().Add(time.Hour)},
			},
			job:  func(*target) (string, error) { return "dependency", nil },
			want: "122: the VM on /srv/web did not start: no disk; hint: claude-vm-ctl logs /srv/web",
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
