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

// explainOOM says whose memory ran out when QEMU was killed for it: that of the unit
// in the cgroup, of a slice above it, or all of it.
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

// wasFull says whether a limit has ever been reached, from cgroup v2's counts.
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

// ownCgroup is the path of this process's cgroup, which is the unit's.
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
