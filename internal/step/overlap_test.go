package step

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// fakeUnits has the states of the VMs' units.
type fakeUnits struct {
	serviceEnvironment
	states, jobs map[string]string
}

func (f fakeUnits) Unit(_ context.Context, name string) (manager.Unit, error) {
	state := f.states[name]
	if state == "" {
		state = "inactive"
	}
	return manager.Unit{Name: name, ActiveState: state}, nil
}

func (f fakeUnits) Command(context.Context, string) (string, []string, error) { return "", nil, nil }

func (f fakeUnits) Job(_ context.Context, name string) (manager.Job, error) {
	return manager.Job{ID: f.jobs[name]}, nil
}

// run returns the record of a run that shares the work directory dir, and the mounts NAME:PATH.
func run(dir string, mounts ...string) (r instance.Record) {
	r.Settings.WorkDirectory = dir
	r.Shares = []instance.Share{{Name: contract.ShareWork, Path: dir}}
	for _, m := range mounts {
		name, path, _ := strings.Cut(m, ":")
		r.Shares = append(r.Shares, instance.Share{Name: name, Path: path})
	}
	return r
}

func TestOverlap(t *testing.T) {
	inode := func(r instance.Record) instance.Record {
		r.Shares[0].Inode = 7
		return r
	}
	for name, c := range map[string]struct {
		a, b instance.Record
		want string
	}{
		"other directories":        {a: run("/a"), b: run("/ab")},
		"the same directory":       {run("/a"), run("/a"), "/a /a"},
		"another mount of it":      {inode(run("/a")), inode(run("/b")), "/a /b"},
		"below":                    {run("/a/b"), run("/a"), "/a/b /a"},
		"above":                    {run("/a"), run("/a/b"), "/a /a/b"},
		"a mount above":            {run("/a/b"), run("/c", "rw0:/a"), "/a/b /a"},
		"a mount below":            {run("/a", "rw1:/c/d"), run("/c"), "/c/d /c"},
		"a read-only mount":        {a: run("/a/b"), b: run("/c", "ro0:/a")},
		"the same mount":           {a: run("/a", "rw0:/cache"), b: run("/b", "rw0:/cache")},
		"the same git directory":   {a: run("/a", "git:/r/.git"), b: run("/b", "git:/r/.git")},
		"a worktree and its clone": {a: run("/r"), b: run("/b", "git:/r/.git")},
	} {
		own, theirs, found := overlap(c.a, c.b)
		if got := strings.TrimSpace(own + " " + theirs); got != c.want || found != (c.want != "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestMakeRun checks that records of VMs that do not run any more are ignored, and that only one of
// two setups at once succeeds.
func TestMakeRun(t *testing.T) {
	paths := instance.Paths{Runtime: t.TempDir()}
	f := fakeUnits{states: map[string]string{}, jobs: map[string]string{}}
	start := func(dir string) error {
		return makeRun(t.Context(), f, paths, instance.Escape(dir), run(dir), instance.Secrets{})
	}
	if err := start("/a"); err != nil {
		t.Fatal(err)
	}
	if err := start("/a/left-over"); err != nil {
		t.Errorf("a left-over record: %v", err)
	}
	const want = "/a/b overlaps /a of the running VM on /a, whose guest could replace directories of this one"
	for name, states := range map[string]map[string]string{"states": f.states, "jobs": f.jobs} {
		states[instance.VM.Unit("a")] = "activating"
		if err := start("/a/b"); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		delete(states, instance.VM.Unit("a"))
	}

	f.jobs[instance.VM.Unit("x")], f.jobs[instance.VM.Unit("x-y")] = "1", "2"
	var wait sync.WaitGroup
	errs := make(chan error, 2)
	for _, dir := range []string{"/x", "/x/y"} {
		wait.Go(func() { errs <- start(dir) })
	}
	wait.Wait()
	if a, b := <-errs, <-errs; (a == nil) == (b == nil) {
		t.Errorf("of two starts at once: %v, %v", a, b)
	}
}

func TestObeyed(t *testing.T) {
	paths := instance.Paths{Config: "/home/me/.config", Data: "/home/me/.local/share", State: "/home/me/.local/state"}
	const obeyed = ", which your user manager or claude-vm obeys"
	for name, c := range map[string]struct {
		run  instance.Record
		want string
	}{
		"a project":           {run: run("/home/me/src", "rw0:/home/me/.cache/go")},
		"other configuration": {run: run("/home/me/.config/nvim")},
		"a read-only mount":   {run: run("/home/me/src", "ro0:/home/me/.config/claude-vm/mcp.json")},
		"a kept home":         {run: run("/home/me/src", "home:/home/me/.local/state/claude-vm/user")},
		"all configuration":   {run("/home/me/.config"), "/home/me/.config with a VM: its guest could change files in /home/me/.config/claude-vm"},
		"units":               {run("/home/me/.local/share/systemd/user"), "/home/me/.local/share/systemd/user with a VM: its guest could change files in /home/me/.local/share/systemd"},
		"a mount":             {run("/home/me/src", "rw0:/home/me/.local"), "/home/me/.local with a VM: its guest could change files in /home/me/.local/share/claude-vm"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkObeyed(paths, c.run.Shares)
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != "refusing to share "+c.want+obeyed) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
