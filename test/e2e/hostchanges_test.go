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
	// The first change may be ignored, because no program has watched files before.
	next := func(want string) {
		t.Helper()
		select {
		case got := <-events:
			if got != want {
				t.Errorf("event %s, want %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("no event %s; processes: %s", want, p.command("pgrep", "-a", "claude-vm-ctl").stdout)
		}
	}
	modified := p.modified("src/old")
	p.eventually("the host's change is noticed", func() bool {
		time.Sleep(3 * time.Second)
		p.write("src/old", fmt.Sprint(time.Now()))
		modified = p.modified("src/old")
		select {
		case got := <-events:
			return got == `modify "old"`
		case <-time.After(10 * time.Second):
			return false
		}
	})
	if got := p.modified("src/old"); got != modified {
		t.Errorf("the time of modification is %v, want %v", got, modified)
	}
	p.write("src/new", "1")
	next(`modify "new"`)
	p.command("mkdir", "src/directory").ok()
	next(`modify "directory"`)
	p.command("rm", "src/new").ok()
	next(`modify ""`)
	p.guest("echo guest >src/own")
	next(`create "own"`)
	next(`modify "own"`)
	time.Sleep(3 * time.Second) // otherwise this counts as the guest's change
	p.write("replacement", "1")
	p.command("mv", "replacement", "src/own").ok()
	next(`modify "own"`)
	p.command("mv", "src/old", "src/renamed").ok()
	p.write("src/last", "1")
	rest := map[string]bool{}
	for !rest[`modify "last"`] || !rest[`modify "renamed"`] || !rest[`modify ""`] {
		select {
		case got := <-events:
			if got == `modify "own"` {
				t.Error("the guest's own change is told again")
			}
			rest[got] = true
		case <-time.After(time.Minute):
			t.Fatalf("events: %v", rest)
		}
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
