//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// startSSHD starts OpenSSH's server in the guest, for comparison. It returns the ssh
// command line that connects to it over the user network.
func (p *project) startSSHD() []string {
	p.t.Helper()
	port := freePort(p.t)
	socket, public := p.agent()
	p.ctl("start", "--publish", fmt.Sprintf("%d:2222", port), ".").ok()
	if p.root("command -v sshd").status != 0 {
		p.t.Fatal("the guest has no sshd; scripts/bench builds a guest with sshd")
	}
	p.guest("mkdir -p ~/.ssh && cat >~/.ssh/authorized_keys <<'END'\n" + p.command("cat", public).ok().stdout + "END\n")
	p.root("rm -f /run/nologin; mkdir -p /run/sshd; ssh-keygen -q -A; /usr/sbin/sshd -p 2222 -o StrictModes=no -o PerSourcePenalties=no").ok()
	ssh := []string{"env", "SSH_AUTH_SOCK=" + socket, "ssh", "-F", "/dev/null", "-p", strconv.Itoa(port),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "claude@127.0.0.1"}
	var r result
	p.eventually("sshd listens", func() bool {
		r = p.command(ssh[0], append(slices.Clone(ssh[1:]), "true")...)
		return !strings.Contains(r.stderr, "kex_exchange_identification")
	})
	r.ok()
	return ssh
}

// BenchmarkKeystroke measures the median time from a key to its echo on a terminal of an
// idle guest, compared to OpenSSH.
func BenchmarkKeystroke(b *testing.B) {
	p := newProject(b, "keystroke")
	ssh := p.startSSHD()
	time.Sleep(time.Minute) // until Claude has started and is idle
	shell := []string{"claude-vm-ctl", "shell", ".", "--", "cat"}
	remote := append(slices.Clone(ssh), "-tt", "cat")
	var ours, theirs []time.Duration
	for b.Loop() {
		ours = append(ours, p.keystrokes(shell)...)
		theirs = append(theirs, p.keystrokes(remote)...)
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	b.ReportMetric(float64(ours[len(ours)/2].Microseconds())/1000, "shell-ms")
	b.ReportMetric(float64(theirs[len(theirs)/2].Microseconds())/1000, "sshd-ms")
	b.ReportMetric(ours[len(ours)/2].Seconds()/theirs[len(theirs)/2].Seconds(), "times-sshd")
}

// keystrokes runs a command on a terminal and returns the times from keys to their echoes.
func (p *project) keystrokes(command []string) []time.Duration {
	p.t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = p.dir
	term, err := pty.Start(cmd)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() {
		term.Close()
		cmd.Process.Kill()
		cmd.Wait()
	}()
	buf := make([]byte, 1)
	key := func(c byte) time.Duration {
		start := time.Now()
		if _, err := term.Write([]byte{c}); err != nil {
			p.t.Fatal(err)
		}
		for buf[0] = 0; buf[0] != c; {
			if _, err := io.ReadFull(term, buf); err != nil {
				p.t.Fatal(err)
			}
		}
		return time.Since(start)
	}
	// The first key is not counted: the local terminal may still echo it.
	time.Sleep(2 * time.Second)
	key('0')
	var times []time.Duration
	for i := range 100 {
		times = append(times, key(byte('a'+i%26)))
		time.Sleep(10 * time.Millisecond)
	}
	return times
}

// BenchmarkBulk measures the throughput of a command's output, compared to OpenSSH.
func BenchmarkBulk(b *testing.B) {
	p := newProject(b, "bulk")
	ssh := p.startSSHD()
	time.Sleep(time.Minute)
	const size = 32 << 20
	read := func(command ...string) time.Duration {
		start := time.Now()
		out := p.command("sh", append([]string{"-c", `"$@" | wc -c`, "sh"}, command...)...).ok().stdout
		if strings.TrimSpace(out) != strconv.Itoa(size) {
			b.Fatalf("%v prints %s bytes", command, out)
		}
		return time.Since(start)
	}
	var ours, theirs time.Duration
	for b.Loop() {
		ours += read("claude-vm-ctl", "shell", ".", "--", "head", "-c", strconv.Itoa(size), "/dev/zero")
		theirs += read(append(slices.Clone(ssh), "head", "-c", strconv.Itoa(size), "/dev/zero")...)
	}
	b.ReportMetric(size*float64(b.N)/1e6/ours.Seconds(), "shell-MB/s")
	b.ReportMetric(size*float64(b.N)/1e6/theirs.Seconds(), "sshd-MB/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-sshd")
}

// BenchmarkStart measures the time that claude-vm-ctl start takes in addition to systemctl
// start, with a sleeping process in place of QEMU.
func BenchmarkStart(b *testing.B) {
	p := newProject(b, "start")
	p.dropin(p.unit(), "90-sleep.conf", "Type=exec\nExecStart=\nExecStart=sleep infinity\nExecStartPost=\nExecStop=\nExecStopPost=")
	var ours, theirs time.Duration
	measure := func(total *time.Duration, command string, args ...string) {
		start := time.Now()
		p.command(command, args...).ok()
		*total += time.Since(start)
		p.systemctl("stop", p.unit()).ok()
		p.wantGone()
	}
	measure(new(time.Duration), "systemctl", "--user", "start", p.unit())
	for b.Loop() {
		measure(&ours, "claude-vm-ctl", "start", ".")
		measure(&theirs, "systemctl", "--user", "start", p.unit())
	}
	b.ReportMetric(float64((ours-theirs).Microseconds())/1000/float64(b.N), "added-ms")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "times-systemctl")
}
