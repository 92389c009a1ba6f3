//go:build bench

package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// selected returns the peers that are measured, each with a directory that has the job.
func selected(t *testing.T, all []*peer) (out []*peer) {
	base := "/srv/work/" + t.Name()
	check(t, os.MkdirAll(base, 0o755))
	for _, p := range all {
		if slices.Contains(strings.Split(*skip, ";"), p.name) {
			continue
		}
		p.dir = filepath.Join(base, strings.NewReplacer(" ", "-", ",", "").Replace(p.name))
		check(t, os.RemoveAll(p.dir))
		check(t, os.Mkdir(p.dir, 0o755))
		p.put(t, "job", job)
		check(t, os.Chown(p.dir, int(p.as), int(p.as)))
		out = append(out, p)
	}
	return out
}

func (p *peer) put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	check(t, os.WriteFile(path, []byte(text), 0o644))
	check(t, os.Chown(path, int(p.as), int(p.as)))
}

func (p *peer) exists(name string) bool {
	_, err := os.Stat(filepath.Join(p.dir, name))
	return err == nil
}

// command makes cmd one of the peer's user.
func (p *peer) command(cmd *exec.Cmd) *exec.Cmd {
	if p.as != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.as, Gid: p.as}}
		cmd.Env = append(os.Environ(), "HOME=/home/dev", "USER=dev", "XDG_RUNTIME_DIR=/run/user/1000", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus")
	}
	return cmd
}

// run is one run of a peer.
type run struct {
	*peer
	t      *testing.T
	before map[int]bool // processes
	began  time.Time
	busy   float64 // CPU seconds of the whole machine before
	cmd    *exec.Cmd
	output strings.Builder
	ended  chan error
}

// boot starts a peer and waits until a command runs in the guest, in the shared directory.
func (p *peer) boot(t *testing.T) *run {
	t.Helper()
	for _, name := range []string{"ready", "stop", "done", "times", "failed"} {
		os.Remove(filepath.Join(p.dir, name))
	}
	r := &run{peer: p, t: t, before: processes(), busy: busy(t), ended: make(chan error, 1)}
	r.cmd = p.command(p.start(p))
	r.cmd.Stdout, r.cmd.Stderr = &r.output, &r.output
	r.began = time.Now()
	check(t, r.cmd.Start())
	go func() { r.ended <- r.cmd.Wait() }()
	r.wait("ready")
	return r
}

// wait waits for a file in the shared directory. The peers have no limit of time: one that hangs is
// seen by the lines that are printed.
func (r *run) wait(name string) {
	r.t.Helper()
	for !r.exists(name) {
		select {
		case err := <-r.ended:
			failed, _ := os.ReadFile(filepath.Join(r.dir, "failed"))
			if !r.exists(name) {
				r.t.Fatalf("%s has ended without %s: %v\n%s%s", r.name, name, err, failed, r.output.String())
			}
			r.ended <- err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// finish waits until the peer has ended.
func (r *run) finish() {
	r.t.Helper()
	if err := <-r.ended; err != nil {
		r.t.Fatalf("%s: %v\n%s", r.name, err, r.output.String())
	}
	if r.stop != nil {
		cmd := r.command(exec.Command(r.stop[0], append(r.stop[1:], r.dir)...))
		if out, err := cmd.CombinedOutput(); err != nil {
			r.t.Fatalf("%s: %v\n%s", r.stop, err, out)
		}
	}
}

// memory returns the proportional set size, in MiB, of all processes that the peer has started.
func (r *run) memory() (sum float64) {
	for pid := range processes() {
		if r.before[pid] {
			continue
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(text)) {
			if rest, found := strings.CutPrefix(line, "Pss:"); found {
				kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				sum += kb / 1024
			}
		}
	}
	return sum
}

func processes() map[int]bool {
	out := map[int]bool{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			out[pid] = true
		}
	}
	return out
}

// busy returns the CPU time of the machine in seconds.
func busy(t *testing.T) (sum float64) {
	text, err := os.ReadFile("/proc/stat")
	check(t, err)
	for i, field := range strings.Fields(strings.SplitN(string(text), "\n", 2)[0])[1:9] {
		if ticks, _ := strconv.ParseFloat(field, 64); i != 3 && i != 4 && i != 7 { // not idle, iowait, stolen
			sum += ticks / 100 // USER_HZ, see proc_stat(5)
		}
	}
	return sum
}
