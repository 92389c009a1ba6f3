//go:build bench

package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestInstructions counts the instructions that a guest executes until a command runs in the shared
// directory. Unlike seconds, they do not depend on the machine and on what else it does; but QEMU needs
// more time for some than for others. QEMU counts only what it emulates: scripts/test leaves this test out
// with KVM.
func TestInstructions(t *testing.T) {
	v := values{}
	// QEMUArguments= rules out snapshots.
	all := selected(t, slices.DeleteFunc(peers(), func(p *peer) bool { return p.name == "claude-vm, resumed" }))
	for _, p := range all {
		out := filepath.Join(p.dir, "instructions")
		if p.as != 0 {
			// QEMU may write only to its working directory.
			out = "instructions"
		}
		t.Setenv("COUNT", "-plugin /usr/local/lib/claude-vm-count.so,out="+out)
		r := p.boot(t)
		count := instructions(t, out)
		r.put(t, "stop", "")
		r.finish()
		v.add("instructions, 10^9", p.name, count/1e9)
		fmt.Printf("%s: %.2f\n", p.name, count/1e9)
	}
	v.print(t, all)
}

// instructions reads the number that count.c writes.
func instructions(t *testing.T, out string) float64 {
	t.Helper()
	if !filepath.IsAbs(out) {
		found, err := filepath.Glob("/run/user/1000/claude-vm/*/" + out)
		if err != nil || len(found) != 1 {
			t.Fatalf("files of QEMU: %q, %v", found, err)
		}
		out = found[0]
	}
	text, err := os.ReadFile(out)
	check(t, err)
	count, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	check(t, err)
	return count
}
