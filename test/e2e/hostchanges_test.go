//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestHostChanges checks that a program in the guest that watches a directory with inotify(7) notices
// changes of the host, and its own changes only once.
func TestHostChanges(t *testing.T) {
	t.Parallel()
	p := newProject(t, "hostchanges")
	p.command("mkdir", "src").ok()
	p.write("src/old", "1")
	p.command("cp", "/usr/local/bin/claude-vm-watchfiles", "watchfiles").ok()
	p.start()
	events := p.watchFiles("src")
	seen := map[string]int{}
	// wait waits for an event, or reports that there was none.
	wait := func(want string, limit time.Duration) bool {
		t.Helper()
		end := time.After(limit)
		for before := seen[want]; seen[want] == before; {
			select {
			case got := <-events:
				seen[got]++
			case <-end:
				return false
			}
		}
		return true
	}
	next := func(want string) {
		t.Helper()
		if !wait(want, time.Minute) {
			t.Fatalf("no event %s; others: %v", want, seen)
		}
	}
	// The first change may be ignored, because no program has watched files before.
	modified := p.modified("src/old")
	p.eventually("the host's change is noticed", func() bool {
		time.Sleep(3 * time.Second)
		p.write("src/old", fmt.Sprint(time.Now()))
		modified = p.modified("src/old")
		return wait(`modify "old"`, 10*time.Second)
	})
	if got := p.modified("src/old"); got != modified {
		t.Errorf("the time of modification is %v, want %v", got, modified)
	}
	p.wantFewFiles()
	next(`close "old"`)
	p.write("src/new", "1")
	next(`modify "new"`)
	next(`close "new"`)
	p.command("mkdir", "src/directory").ok()
	next(`modify "directory"`)
	p.command("rm", "src/new").ok()
	next(`modify ""`)
	p.guest("echo guest >src/own")
	next(`modify "own"`)
	if wait(`modify "own"`, 5*time.Second) { // after a moment, a change of the host does not count as the guest's
		t.Errorf("the guest's own change is told again: %v", seen)
	}
	p.write("replacement", "1")
	p.command("mv", "replacement", "src/own").ok()
	next(`modify "own"`)
	p.command("mv", "src/old", "src/renamed").ok()
	next(`modify "renamed"`)
	next(`close "renamed"`)
	if seen[`create "own"`] != 1 || len(seen) != 11 {
		t.Errorf("events: %v", seen)
	}
}

// wantFewFiles checks that watch-host has not inherited the lock and the socket of virtiofsd, whose end would
// not be noticed.
func (p *project) wantFewFiles() {
	p.t.Helper()
	group := strings.TrimSpace(p.systemctl("show", "--value", "--property=ControlGroup", instance.Virtiofsd.Unit(p.id)).ok().stdout)
	pids, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", group, "cgroup.procs"))
	if err != nil {
		p.t.Fatal(err)
	}
	found := false
	for _, pid := range strings.Fields(string(pids)) {
		if line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline")); !strings.Contains(string(line), "\x00watch-host\x00") {
			continue
		}
		found = true
		files, err := filepath.Glob(filepath.Join("/proc", pid, "fd/*"))
		if err != nil || len(files) < 4 {
			p.t.Errorf("open files: %q, %v", files, err)
		}
		for _, file := range files {
			if target, err := os.Readlink(file); err != nil || strings.HasSuffix(target, contract.ShareLock) {
				p.t.Errorf("%s is %s, %v", file, target, err)
			}
		}
	}
	if !found {
		p.t.Error("watch-host does not run")
	}
}

// watchFiles watches a directory in the guest. The channel has one line for each event.
func (p *project) watchFiles(dir string) <-chan string {
	p.t.Helper()
	c := exec.Command("claude-vm-ctl", "shell", ".", "--", "./watchfiles", dir)
	c.Dir = p.dir
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "watching" {
		p.t.Fatalf("watchfiles: %q, %v", lines.Text(), lines.Err())
	}
	events := make(chan string, 1000)
	go func() {
		for lines.Scan() {
			events <- strings.TrimSpace(lines.Text())
		}
	}()
	return events
}

// modified returns the time of modification of a file in the project.
func (p *project) modified(name string) time.Time {
	p.t.Helper()
	info, err := os.Stat(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return info.ModTime()
}
