package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// TestDrainEnds checks that drain returns although a descendant continues to write.
func TestDrainEnds(t *testing.T) {
	cmd := exec.Command("sh", "-c", "(while :; do echo more; sleep 0.1; done) & exit 0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p, err := start(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.signal(syscall.SIGKILL)
	p.drain(p.stdout, func([]byte) {})
}

// TestDrainReadsAll checks that no output is lost if the command exits before it is read,
// while a descendant keeps the stream open.
func TestDrainReadsAll(t *testing.T) {
	for range 20 {
		cmd := exec.Command("sh", "-c", "echo out; echo err >&2; sleep 1000 & exit 7")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		p, err := start(cmd, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out, errs string
		var copies sync.WaitGroup
		copies.Go(func() { p.drain(p.stdout, func(b []byte) { out += string(b) }) })
		p.drain(p.stderr, func(b []byte) { errs += string(b) })
		copies.Wait()
		p.signal(syscall.SIGKILL)
		if out != "out\n" || errs != "err\n" || p.status != 7 {
			t.Fatalf("stdout %q, stderr %q, status %d", out, errs, p.status)
		}
	}
}

// TestStopWaitsForClaude checks that the session script on a terminal lives until Claude Code has stored what it
// has to store.
func TestStopWaitsForClaude(t *testing.T) {
	stored := filepath.Join(t.TempDir(), "stored")
	claude := filepath.Join(t.TempDir(), "claude")
	script := "#!/bin/bash\ntrap 'sleep 0.3; touch " + stored + "; exit 3' HUP\necho ready\nwhile :; do sleep 0.1; done\n"
	if err := os.WriteFile(claude, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `exec 3>/dev/null "$@"`, "sh", "../overlay/usr/lib/claude-vm/session", "", claude)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p, err := start(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(p.term).ReadString('\n'); line != "ready\r\n" {
		t.Fatalf("output %q, %v", line, err)
	}
	p.stop()
	if _, err := os.Stat(stored); err != nil || p.status != 3 {
		t.Errorf("status %d, %v", p.status, err)
	}
}
