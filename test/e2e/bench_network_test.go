//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// backend is a way out of the same VM, with a network card of its own.
type backend struct {
	name    string
	address string // of the server on the host
	unit    string // whose CPU time is counted besides QEMU's
	// Seconds of each round.
	up, down, connect, all, cpu, own []float64
}

// BenchmarkNetwork compares the gateway with QEMU's user network and with passt, each in turn
// in the same VM. Ratios are above 1 if the gateway is faster.
func BenchmarkNetwork(b *testing.B) {
	const size, connections, rounds = 32 << 20, 200, 15
	p := bench(b)
	port := freePort(b)
	p.command("cp", "/usr/local/bin/claude-vm-netbench", "netbench").ok()
	server := p.spawn("", "/usr/local/bin/claude-vm-netbench", "serve", fmt.Sprintf("127.0.0.1:%d", port))
	defer server.Process.Kill()
	socket := filepath.Join(b.TempDir(), "passt")
	passt := "claude-vm-bench-passt.service"
	p.command("systemd-run", "--user", "--quiet", "--collect", "--unit="+passt, "passt", "--foreground", "--socket", socket,
		"--address", "10.0.4.15", "--netmask", "24", "--gateway", "10.0.4.2", "--ipv4-only", "--mtu", "65520").ok()
	defer p.systemctl("stop", passt)
	p.eventually("passt listens", func() bool { _, err := os.Stat(socket); return err == nil })
	p.vmFile(fmt.Sprintf("CPUs=1\nMemory=1G\nInsecure=PrivateNetwork\nQEMUArguments=-netdev user,id=n1,net=10.0.3.0/24 -device virtio-net-pci,netdev=n1,romfile= "+
		"-netdev stream,id=n2,server=off,addr.type=unix,addr.path=%s -device virtio-net-pci,netdev=n2,romfile=,host_mtu=65520\n"+
		"[Network]\nAllow=host.internal:%d\n[Service]\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nPrivateNetwork=no\nBindPaths=%s\n",
		socket, port, filepath.Dir(socket)))
	p.start()
	p.root("for i in 1 2; do busybox ip link set eth$i up; busybox ip addr add 10.0.$((i+2)).15/24 dev eth$i; done")
	backends := []*backend{
		{name: "gateway", address: "host.internal", unit: instance.Gateway.Unit(p.id)},
		{name: "slirp", address: "10.0.3.2"},
		{name: "passt", address: "10.0.4.2", unit: passt},
	}
	p.eventually("Claude runs", func() bool { return p.root("pkill -STOP -x claude").status == 0 }) // it takes a fifth of an emulated processor
	for b.Loop() {
		for round := range rounds {
			for i := range backends {
				n := backends[(round+i)%len(backends)]
				before, ownBefore := p.cpuSeconds(p.unit(), n.unit), p.cpuSeconds(n.unit)
				var r struct{ Up, Down, Connect, All float64 }
				out := p.ctl("shell", ".", "--", "./netbench", fmt.Sprintf("%s:%d", n.address, port), fmt.Sprint(size), fmt.Sprint(connections))
				if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
					b.Logf("a round of %s is left out: %s", n.name, out.stderr) // passt stalls in some
					r.Up, r.Down, r.Connect, r.All = math.NaN(), math.NaN(), math.NaN(), math.NaN()
				}
				n.up, n.down = append(n.up, r.Up), append(n.down, r.Down)
				n.connect, n.all = append(n.connect, r.Connect), append(n.all, r.All)
				n.cpu = append(n.cpu, p.cpuSeconds(p.unit(), n.unit)-before)
				n.own = append(n.own, p.cpuSeconds(n.unit)-ownBefore)
			}
		}
	}
	for _, n := range backends {
		b.Logf("%-8s up %5.1f MB/s, down %5.1f MB/s, %4.0f connections/s, connect %.1f ms, CPU %.1f s, %.1f s of it not QEMU's", n.name,
			size/1e6/median(n.up), size/1e6/median(n.down), connections/median(n.all), 1000*median(n.connect), median(n.cpu), median(n.own))
	}
	for _, n := range backends[1:] {
		g := backends[0]
		b.ReportMetric(ratio(n.up, g.up), "up-of-"+n.name)
		b.ReportMetric(ratio(n.down, g.down), "down-of-"+n.name)
		b.ReportMetric(ratio(n.all, g.all), "connections-of-"+n.name)
		b.ReportMetric(ratio(g.connect, n.connect), "connect-time-of-"+n.name)
		b.ReportMetric(ratio(n.cpu, g.cpu), "cpu-of-"+n.name)
	}
	b.ReportMetric(p.resident(instance.Gateway.Unit(p.id)), "gateway-MB")
	time.Sleep(15 * time.Second) // connections that were closed, and what Claude does then
	switches := p.switches()
	p.command("sleep", "10").ok()
	b.ReportMetric(p.switches()-switches, "idle-wakeups-in-10s")
}

// median ignores values that are not numbers.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(values), math.IsNaN)))
	return sorted[len(sorted)/2]
}

// ratio returns the median of the ratios in each round: the speed of a machine changes more from
// round to round than within one.
func ratio(a, b []float64) float64 {
	each := slices.Clone(a)
	for i := range each {
		each[i] /= b[i]
	}
	return median(each)
}

// cpuSeconds returns the CPU time of units; an empty name is ignored.
func (p *project) cpuSeconds(units ...string) float64 {
	total := 0.0
	for _, u := range units {
		if u == "" {
			continue
		}
		nsec, err := strconv.ParseFloat(strings.TrimSpace(p.systemctl("show", "--value", "--property=CPUUsageNSec", u).ok().stdout), 64)
		if err != nil {
			p.t.Fatal(err)
		}
		total += nsec / 1e9
	}
	return total
}

// processStatus returns the values of a field in the status of all threads of the gateway.
func (p *project) processStatus(pattern, field string) (sum float64) {
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); name == field {
				n, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
				sum += n
			}
		}
	}
	return sum
}

func (p *project) mainPID(unit string) string {
	return strings.TrimSpace(p.systemctl("show", "--value", "--property=MainPID", unit).ok().stdout)
}

// resident returns the resident memory of a unit's main process in MB.
func (p *project) resident(unit string) float64 {
	return p.processStatus(filepath.Join("/proc", p.mainPID(unit), "status"), "VmRSS") / 1024
}

// switches returns how often the threads of the gateway went to sleep.
func (p *project) switches() float64 {
	return p.processStatus(filepath.Join("/proc", p.mainPID(instance.Gateway.Unit(p.id)), "task/*/status"), "voluntary_ctxt_switches")
}
