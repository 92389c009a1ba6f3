//go:build bench

// Package peers compares claude-vm with other ways to get a guest with a shared directory, each in
// turn in the same run. It runs as root in a test host.
package peers

import (
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	rounds = flag.Int("rounds", 3, "how many times each peer is measured")
	files  = flag.Int("files", 10_000, "number of files in the tree of the file benchmark")
	builds = flag.Bool("builds", true, "measure npm ci and go build, too, which take minutes")
	other  = flag.String("virtiofsd", "", "options of virtiofsd, separated by semicolons; QEMU is measured with each, too")
	skip   = flag.String("skip", "", "names of peers that are not measured, separated by semicolons")
	result = flag.String("json", "", "file to which the values are written")
)

// job is what each guest runs.
//
//go:embed job
var job string

// values are the measured values: name of the measure, name of the peer, one value per round.
type values map[string]map[string][]float64

func (v values) add(measure, peer string, value float64) {
	if v[measure] == nil {
		v[measure] = map[string][]float64{}
	}
	v[measure][peer] = append(v[measure][peer], value)
}

// TestStart measures the time until a command runs in the shared directory, the CPU time of the
// machine until then, what the idle guest takes of memory ten seconds later, and the end.
func TestStart(t *testing.T) {
	all := selected(t, peers())
	v := values{}
	for round := range *rounds + 1 {
		for i := range all {
			p := all[(round+i)%len(all)]
			if round == 0 && p.as == 0 {
				continue // only ours has something to prepare: the snapshot
			}
			r := p.boot(t)
			seconds, cpu := time.Since(r.began).Seconds(), busy(t)-r.busy
			if round > 0 {
				time.Sleep(10 * time.Second)
				v.add("memory, MiB", p.name, r.memory())
			}
			ending := time.Now()
			r.put(t, "stop", "")
			r.finish()
			if round == 0 {
				if p.name == "claude-vm, resumed" {
					waitSnapshot(t, p)
				}
				continue
			}
			v.add("start, s", p.name, seconds)
			v.add("CPU time until then, s", p.name, cpu)
			v.add("end, s", p.name, time.Since(ending).Seconds())
			fmt.Printf("round %d: %s: %.2f s\n", round, p.name, seconds)
		}
	}
	v.print(t, all)
}

// waitSnapshot waits until the snapshot from which the VM will resume is complete.
func waitSnapshot(t *testing.T, p *peer) {
	out, err := p.command(exec.Command("claude-vm-ctl", "snapshot", "make", p.dir)).CombinedOutput()
	if err != nil {
		t.Fatalf("snapshot make: %v\n%s", err, out)
	}
}

// TestFiles measures tasks in the shared directory.
func TestFiles(t *testing.T) {
	all := slices.DeleteFunc(peers(), func(p *peer) bool { return p.name == "claude-vm, resumed" || p.name == "kernel alone" })
	all = selected(t, append([]*peer{native}, all...))
	v := values{}
	for round := range *rounds {
		for i := range all {
			p := all[(round+i)%len(all)]
			p.tree(t)
			r := p.boot(t)
			r.wait("done")
			r.finish()
			text, err := os.ReadFile(filepath.Join(p.dir, "times"))
			check(t, err)
			for line := range strings.Lines(string(text)) {
				words := strings.Fields(line)
				from, _ := strconv.ParseFloat(words[len(words)-2], 64)
				to, _ := strconv.ParseFloat(words[len(words)-1], 64)
				v.add(strings.Join(words[:len(words)-2], " ")+", s", p.name, to-from)
			}
			fmt.Printf("round %d: %s\n", round+1, p.name)
		}
	}
	v.print(t, all)
}

// TestMemory measures what the host gets back of the memory that a guest has used, and what ten VMs that
// resume from one snapshot take.
func TestMemory(t *testing.T) {
	p := peers()[1]
	selected(t, []*peer{p})
	v := values{}
	ctl := func(arguments ...string) {
		t.Helper()
		if out, err := p.command(exec.Command("claude-vm-ctl", arguments...)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", arguments, err, out)
		}
	}
	r := &run{peer: p, t: t, before: processes()}
	measure := func(what string) {
		v.add(what+", MiB", p.name, r.memory())
		fmt.Println(what)
	}
	ctl("start", "--memory=3G", "--cpus=1", "--set=VM.Resume=no", p.dir)
	time.Sleep(10 * time.Second)
	measure("1 idle, 3 GB")
	ctl("shell", p.dir, "--", "sh", "-c", "head -c 2G /dev/urandom >/tmp/used")
	measure("2 with 2 GB of files in its memory")
	ctl("shell", p.dir, "--", "rm", "/tmp/used")
	removed := time.Now()
	for _, after := range []int{5, 30, 60} {
		time.Sleep(time.Until(removed.Add(time.Duration(after) * time.Second)))
		measure(fmt.Sprintf("3 %2d s after their removal", after))
	}
	ctl("stop", p.dir)

	ctl("start", "--memory=1G", "--cpus=1", p.dir)
	ctl("stop", p.dir)
	waitSnapshot(t, p)
	for i := range 10 {
		dir := fmt.Sprintf("%s/%d", p.dir, i)
		check(t, os.Mkdir(dir, 0o755))
		check(t, os.Chown(dir, int(p.as), int(p.as)))
		ctl("start", "--memory=1G", "--cpus=1", dir)
		defer p.command(exec.Command("claude-vm-ctl", "kill", dir)).Run()
		if i == 0 || i == 9 {
			time.Sleep(10 * time.Second)
			measure(fmt.Sprintf("4 %2d resumed, idle, 1 GB each", i+1))
		}
	}
	v.print(t, []*peer{p})
}

// print prints a table of the medians, with the lowest and the highest values and the ratios of
// ours to the others, and writes the values to a file for scripts.
func (v values) print(t *testing.T, all []*peer) {
	head := machine(t)
	fmt.Printf("\n%s\n%s: medians, lowest to highest; ratios of ours to others\n\n", strings.Join(head, "\n"), t.Name())
	for _, measure := range slices.Sorted(maps.Keys(v)) {
		fmt.Println(measure)
		for _, p := range all {
			got := slices.Sorted(slices.Values(v[measure][p.name]))
			if len(got) == 0 {
				fmt.Printf("  %-20s not measured\n", p.name)
				continue
			}
			fmt.Printf("  %-20s %9.2f  %8.2f–%-8.2f", p.name, got[len(got)/2], got[0], got[len(got)-1])
			for _, o := range all[:min(2, len(all))] {
				if strings.HasPrefix(o.name, "claude-vm") && o != p {
					mine := slices.Sorted(slices.Values(v[measure][o.name]))
					fmt.Printf("  %s %.2f", o.name, mine[len(mine)/2]/got[len(got)/2])
				}
			}
			fmt.Println()
		}
	}
	if *result != "" {
		text, err := json.MarshalIndent(map[string]any{"machine": head, "values": v}, "", "  ")
		check(t, err)
		check(t, os.WriteFile(*result+"-"+t.Name()+".json", append(text, '\n'), 0o644))
	}
}

// machine describes the machine and the versions.
func machine(t *testing.T) []string {
	first := func(command string) string {
		out, err := exec.Command("sh", "-c", command+" 2>&1 | head -1").Output()
		check(t, err)
		return strings.TrimSpace(string(out))
	}
	accelerator := "emulation (TCG)"
	if hasKVM() {
		accelerator = "KVM"
	}
	return []string{
		fmt.Sprintf("%s, %s, %d processors, Linux %s, %s", time.Now().Format(time.DateOnly), first(`sed -n 's/^model name.*: //p' /proc/cpuinfo`), runtime.NumCPU(), first("uname -r"), accelerator),
		first("claude-vm-ctl --version") + "; guest " + first("sed -n 's/^GUEST_VERSION=//p' /usr/local/share/claude-vm/guest/guest.env"),
		first("qemu-system-x86_64 --version") + "; " + first("/usr/libexec/virtiofsd --version") + "; " + first("systemd-vmspawn --version") + "; " + first("vng --version") +
			"; kernel of the peers " + first("readlink "+guest+"/tree/boot/kernel-cloud"),
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
