//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOverlap checks that VMs do not share directories of which one contains the other.
func TestOverlap(t *testing.T) {
	t.Parallel()
	p := newProject(t, "outer")
	inner := newProjectAt(t, filepath.Join(p.dir, "inner"))
	beside := newProject(t, "beside")
	for _, q := range []*project{p, inner, beside} {
		q.withoutQEMU()
	}
	p.starting("claude-vm-ctl", "start", ".")
	refused := func(r result, own, running *project) {
		t.Helper()
		r.fails(121, own.dir+" overlaps "+running.dir+" of the running VM on "+running.dir+", whose guest could replace directories of this one",
			"claude-vm-ctl stop "+running.dir)
	}
	refused(inner.ctl("start", "."), inner, p)
	refused(beside.ctl("start", "--mount", inner.dir+":/mnt", "."), inner, p)

	t.Log("a read-only mount")
	beside.starting("claude-vm-ctl", "start", "--mount", inner.dir+":/mnt:ro", ".")
	beside.systemctl("stop", beside.unit()).ok()

	t.Log("a record that was left over")
	record := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm", "."+p.id+".record")
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	p.systemctl("stop", p.unit()).ok()
	p.wantGone()
	if err := os.WriteFile(record, text, 0o600); err != nil {
		t.Fatal(err)
	}
	inner.starting("claude-vm-ctl", "start", ".")
	os.Remove(record)
	refused(p.ctl("start", "."), p, inner)
}
