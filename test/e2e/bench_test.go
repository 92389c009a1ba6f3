//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// bench creates a project for a benchmark. It stops the VM that scripts/test has started for
// TestLogin: a benchmark must run alone.
func bench(b *testing.B) *project {
	b.Helper()
	p := newProject(b, "bench")
	p.systemctl("stop", "claude-vm@*.service").ok()
	return p
}

// BenchmarkBoot starts a VM and reports the time, in seconds, from the start of its unit
// to Claude's first screen. It is split into units (until QEMU's), host (QEMU, firmware), kernel,
// initrd, userspace (systemd), agent (from begin until Claude is executed) and Claude.
func BenchmarkBoot(b *testing.B) {
	p := bench(b)
	for b.Loop() {
		began := p.monotonic()
		e := p.terminal("bench", 100, 30, "claude-vm-ctl run .")
		e.shows(ready)
		screen := p.monotonic() - began
		usec, _ := strconv.ParseFloat(p.property("ActiveEnterTimestampMonotonic"), 64)
		qemu, _ := strconv.ParseFloat(p.property("ExecMainStartTimestampMonotonic"), 64)
		active := (usec - qemu) / 1e6
		// Use dmesg for the early boot: the journal has the time at which journald read a
		// message, which is too late for messages from before it started.
		boot := p.root("dmesg; journalctl -b --no-pager -o short-monotonic -u claude-vm-agent; echo; cat /proc/uptime").ok().stdout
		hostNow := p.monotonic()
		at := func(pattern string) float64 {
			m := regexp.MustCompile(`\[\s*([0-9.]+)\] .*` + pattern).FindStringSubmatch(boot)
			if m == nil {
				b.Fatalf("the guest's log does not contain %q:\n%s", pattern, boot)
			}
			t, _ := strconv.ParseFloat(m[1], 64)
			return t
		}
		uptime, _ := strconv.ParseFloat(strings.Fields(boot[strings.LastIndex(boot, "\n\n")+2:])[0], 64)
		initrd, systemd := at("Run /init as init process"), at("systemd .* running in system mode")
		agent := at("Started claude-vm-agent.service")
		units := qemu/1e6 - began
		b.ReportMetric(units, "units-s")
		b.ReportMetric(hostNow-qemu/1e6-uptime, "host-s")
		b.ReportMetric(initrd, "kernel-s")
		b.ReportMetric(systemd-initrd, "initrd-s")
		b.ReportMetric(agent-systemd, "userspace-s")
		b.ReportMetric(active-(hostNow-qemu/1e6-uptime)-agent, "agent-s")
		b.ReportMetric(screen-units-active, "claude-s")
		b.ReportMetric(screen, "screen-s")
		e.close()
		p.systemctl("stop", p.unit()).ok()
		p.wantGone()
	}
}

// monotonic returns the host's CLOCK_MONOTONIC in seconds.
func (p *project) monotonic() float64 {
	text := p.command("cat", "/proc/uptime").ok().stdout
	t, _ := strconv.ParseFloat(strings.Fields(text)[0], 64)
	return t
}

// BenchmarkRelaunch restarts a VM and reports the start time of the share, in
// milliseconds and relative to a transient unit that runs true(1).
func BenchmarkRelaunch(b *testing.B) {
	p := bench(b)
	p.start()
	var share float64
	var bare time.Duration
	for b.Loop() {
		p.systemctl("restart", p.unit()).ok()
		share += p.activation(instance.Virtiofsd.Unit(p.id))
		p.systemctl("stop", p.unit()).ok()
		began := time.Now()
		p.command("systemd-run", "--user", "--quiet", "--wait", "--collect", "true").ok()
		bare += time.Since(began)
		p.start()
	}
	b.ReportMetric(share/float64(b.N), "share-ms")
	b.ReportMetric(share/(bare.Seconds()*1000), "share-times-systemd-run")
}

// activation returns the time in milliseconds that a unit took to become active.
func (p *project) activation(unit string) float64 {
	p.t.Helper()
	text := p.systemctl("show", "--value", "--property=InactiveExitTimestampMonotonic", "--property=ActiveEnterTimestampMonotonic", unit).ok().stdout
	var from, to float64
	if _, err := fmt.Sscan(text, &from, &to); err != nil {
		p.t.Fatal(err)
	}
	return (to - from) / 1000
}

// fakes is the number of instances in BenchmarkList.
const fakes = 50

// BenchmarkList runs list with fifty units that resemble VMs, and compares it with
// systemctl list-units, which reads less, and systemctl show, which reads all properties.
func BenchmarkList(b *testing.B) {
	p := bench(b)
	var names []string
	for i := range fakes {
		name := instance.VM.Unit(fmt.Sprintf("%s-%d", p.id, i))
		path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user", name) // takes precedence over the template
		writeFile(path, fmt.Sprintf("[Service]\nType=exec\nExecStart=sleep infinity\nEnvironment=MEMORY=1024M PORTS=127.0.0.1:%d:80/tcp\n", 3000+i))
		b.Cleanup(func() { os.Remove(path) })
		names = append(names, name)
	}
	p.systemctl("daemon-reload").ok()
	p.systemctl(append([]string{"start"}, names...)...).ok()
	b.Cleanup(func() {
		exec.Command("systemctl", append([]string{"--user", "stop"}, names...)...).Run()
		exec.Command("systemctl", "--user", "daemon-reload").Run()
	})
	var list, listUnits, show time.Duration
	measure := func(total *time.Duration, command string, args ...string) string {
		began := time.Now()
		out := p.command(command, args...).ok().stdout
		*total += time.Since(began)
		return out
	}
	for b.Loop() {
		out := measure(&list, "claude-vm-ctl", "list")
		if got := strings.Count(out, "/BenchmarkList/bench/"); got != fakes {
			b.Fatalf("list prints %d of %d VMs:\n%s", got, fakes, out)
		}
		measure(&listUnits, "systemctl", "--user", "list-units", "claude-vm@*")
		measure(&show, "systemctl", append([]string{"--user", "show"}, names...)...)
	}
	b.ReportMetric(float64(list.Microseconds())/1000/float64(b.N), "list-ms")
	b.ReportMetric(list.Seconds()/listUnits.Seconds(), "times-list-units")
	b.ReportMetric(list.Seconds()/show.Seconds(), "times-show")
}

// BenchmarkShell runs a command in a running VM, and compares it with systemctl is-active.
func BenchmarkShell(b *testing.B) {
	p := bench(b)
	p.start()
	var shell, ask time.Duration
	for b.Loop() {
		began := time.Now()
		p.guest("true")
		shell += time.Since(began)
		began = time.Now()
		p.systemctl("is-active", p.unit()).ok()
		ask += time.Since(began)
	}
	b.ReportMetric(float64(shell.Milliseconds())/float64(b.N), "shell-ms")
	b.ReportMetric(shell.Seconds()/ask.Seconds(), "times-systemctl")
}
