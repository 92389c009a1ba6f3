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
	"testing"
	"time"
)

// idleTime is how long wake-ups are counted. Before, the VM is idle for as long.
const idleTime = 30 * time.Second

// TestIdle prints what each process of an idle VM takes of the host's memory, and how often it wakes up.
func TestIdle(t *testing.T) {
	p := peers()[0]
	selected(t, []*peer{p})
	before := processes()
	if out, err := p.command(exec.Command("claude-vm-ctl", "start", "--memory=1G", "--cpus=1", "--set=VM.Resume=no", p.dir)).CombinedOutput(); err != nil {
		t.Fatalf("start: %v\n%s", err, out)
	}
	defer p.command(exec.Command("claude-vm-ctl", "stop", p.dir)).Run()
	time.Sleep(idleTime)
	woken := map[int]int{}
	for pid := range processes() {
		if !before[pid] {
			woken[pid] = wakeUps(pid)
		}
	}
	time.Sleep(idleTime)
	fmt.Printf("an idle VM of 1 GB: memory in MiB (PSS), and wake-ups per second\n%8s %8s\n", "memory", "wake-ups")
	var sum, guest float64
	for pid, old := range woken {
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(command) == 0 {
			continue // has ended
		}
		words := strings.Split(string(command), "\x00")
		memory, code, rest := memoryOf(t, pid)
		fmt.Printf("%8.1f %8.2f  %s\n", memory+code+rest, float64(wakeUps(pid)-old)/idleTime.Seconds(), strings.Join(append([]string{filepath.Base(words[0])}, words[1:min(3, len(words))]...), " "))
		if memory > 0 {
			fmt.Printf("%8.1f           of which the guest's memory\n%8.1f           translated code\n", memory, code)
		}
		sum, guest = sum+memory+code+rest, guest+memory
	}
	fmt.Printf("%8.1f           all\n%8.1f           without the guest's memory\n", sum, sum-guest)
}

// wakeUps returns how often the threads of a process have waited and continued.
func wakeUps(pid int) (sum int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		_, after, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		n, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]))
		sum += n
	}
	return sum
}

// memoryOf returns the memory of a process in MiB: mappings of 1 GiB, which are the guest's memory, the
// largest one of those that can be both written and executed, which QEMU translates code to, and the rest.
func memoryOf(t *testing.T, pid int) (guest, code, rest float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	check(t, err)
	var size float64
	var executable bool
	var codes []float64
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case strings.Contains(words[0], "-") && !strings.HasSuffix(words[0], ":"):
			executable = strings.HasPrefix(words[1], "rwx")
		case words[0] == "Size:":
			size, _ = strconv.ParseFloat(words[1], 64)
		case words[0] == "Pss:":
			kb, _ := strconv.ParseFloat(words[1], 64)
			switch {
			case size == 1<<20:
				guest += kb / 1024
			case executable:
				codes = append(codes, kb/1024)
			default:
				rest += kb / 1024
			}
		}
	}
	for _, n := range codes {
		rest += n
	}
	if len(codes) > 0 {
		code = slices.Max(codes)
	}
	return guest, code, rest - code
}
