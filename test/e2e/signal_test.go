//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// attackCommand makes this program attack a process as a QEMU would that the guest has taken over.
const attackCommand = "attack-as-qemu"

// attackAsQEMU runs in the sandbox of claude-vm@, and prints what was not denied to standard error.
func attackAsQEMU(victim string) {
	pid, _ := strconv.Atoi(victim)
	try := func(what string, err error) {
		if err == nil {
			fmt.Fprintln(os.Stderr, "attack succeeded:", what)
		}
	}
	try("kill", unix.Kill(pid, 0))
	try("kill of all processes", unix.Kill(-1, 0))
	try("tgkill", unix.Tgkill(pid, pid, 0))
	var limit unix.Rlimit
	try("prlimit", unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &limit))
	try("setpriority", unix.Setpriority(unix.PRIO_PROCESS, pid, 19))
	var cpus unix.CPUSet
	cpus.Set(0)
	try("sched_setaffinity", unix.SchedSetaffinity(pid, &cpus))
	_, err := unix.PidfdOpen(pid, 0)
	try("pidfd_open", err)
	for _, name := range []string{"environ", "mem", "root/etc/passwd", "fd/0"} {
		_, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, name))
		try("opening "+name, err)
	}
	// Any value will do: this opens the files for writing.
	for _, name := range []string{"oom_score_adj", "autogroup", "clear_refs", "coredump_filter"} {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", pid, name), os.O_WRONLY, 0)
		try("writing "+name, err)
		f.Close()
	}
	for _, dir := range []string{"/dev/pts", "/dev/shm", "/dev/mqueue"} {
		_, err := os.ReadDir(dir)
		try("listing "+dir, err)
		file := filepath.Join(dir, "claude-vm-attack")
		try("writing in "+dir, os.WriteFile(file, nil, 0o600))
		os.Remove(file)
	}
	// What a program needs still works.
	fmt.Fprintln(os.Stderr, "attack finished; a signal to itself:", unix.Kill(os.Getpid(), 0))
	time.Sleep(2 * time.Second) // journald must still see the process, to know its unit
}

// TestSignals runs a program in place of QEMU, in its unit, which attacks another process of the user.
func TestSignals(t *testing.T) {
	t.Parallel()
	p := newProject(t, "signals")
	victim := p.spawn("", "sleep", "infinity")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	attack := fmt.Sprintf("%s %s %d", self, attackCommand, victim.Process.Pid)
	const finished = "attack finished; a signal to itself: <nil>"
	attacks := strings.Count(p.journal(), finished) // of an earlier run of the test
	run := func(exec string, lines ...string) (journal string) {
		p.dropin(p.unit(), "attack.conf", append(lines, "ExecStart=", "ExecStart="+exec, "ExecStartPost=", "ExecStopPost=")...)
		p.systemctl("start", p.unit()).ok()
		p.eventually("the attack is finished", func() bool {
			parts := strings.Split(p.journal(), finished)
			if len(parts) < attacks+2 {
				return false
			}
			journal = parts[attacks]
			return true
		})
		attacks++
		p.wantGone()
		return journal
	}
	if got := run("claude-vm-ctl unit exec -- %i " + attack); strings.Contains(got, "attack succeeded") {
		t.Errorf("in QEMU's place:\n%s", got)
	}
	// What QEMU prints is limited: the guest's root can make it print.
	run(`claude-vm-ctl unit exec -- %i /bin/sh -c "echo '` + finished + `' >&2; yes flood | head -n 5000 >&2"`)
	p.eventually("lines are dropped", func() bool { return strings.Contains(p.journal(), "lines of QEMU were dropped") })
	if n := strings.Count(p.journal(), "flood\n"); n == 0 || n > 400 {
		t.Errorf("%d lines of a flood of 5000 are in the journal", n)
	}
	// Without the step exec, and with the files that other units see.
	got := run(attack, "Type=exec", "InaccessiblePaths=", "BindReadOnlyPaths=", "BindPaths=%t/claude-vm/%i") // the second last resets both
	for _, want := range []string{"kill", "prlimit", "pidfd_open", "writing oom_score_adj", "writing clear_refs", "listing /dev/pts", "writing in /dev/shm"} {
		if !strings.Contains(got, "attack succeeded: "+want+"\n") {
			t.Errorf("the attack %s does not work without what prevents it:\n%s", want, got)
		}
	}
}
