package step

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/size"
)

// cgroupRoot is where cgroup v2 is mounted.
const cgroupRoot = "/sys/fs/cgroup"

// explainOOM returns the reason why QEMU was killed for lack of memory: the limit of the
// unit, of a slice that contains it, or of the machine.
func explainOOM(root, cgroup string) string {
	for dir := filepath.Clean("/" + cgroup); dir != "/"; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(root, dir, "memory.max"))
		limit, parsed := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || parsed != nil || !wasFull(filepath.Join(root, dir, "memory.events")) {
			continue
		}
		return fmt.Sprintf("QEMU was killed: the VM needed more memory than MemoryMax=%s of %s", size.Format(limit), filepath.Base(dir))
	}
	return "QEMU was killed by the kernel's or systemd's OOM killer: the machine's memory ran out"
}

// wasFull reports whether the memory limit of a cgroup was ever reached. events is the path
// of its memory.events file.
func wasFull(events string) bool {
	text, err := os.ReadFile(events)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if n, found := strings.CutPrefix(strings.TrimSpace(line), "oom "); found {
			return n != "0"
		}
	}
	return false
}

// ownCgroup returns the path of the unit's cgroup below cgroupRoot; empty if unknown.
func ownCgroup() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if path, found := strings.CutPrefix(line, "0::"); found {
			return strings.TrimSpace(path)
		}
	}
	return ""
}
