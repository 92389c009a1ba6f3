package main

import (
	"os/exec"
	"sync"
	"syscall"
	"testing"
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
