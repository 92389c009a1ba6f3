package step

import (
	"os"
	"path/filepath"
	"testing"
)

// TestExplainOOM creates files like those of cgroup v2, because the test's user may have no
// memory controller.
func TestExplainOOM(t *testing.T) {
	const (
		slice = "user.slice/app.slice"
		unit  = slice + "/claude-vm@srv-web.service"
		all   = "QEMU was killed by the kernel's or systemd's OOM killer: the machine's memory ran out"
	)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no controller", nil, all},
		{"no limit", map[string]string{unit + "/memory.max": "max\n", unit + "/memory.events": "low 0\noom 0\noom_kill 1\n"}, all},
		{"limit not reached", map[string]string{unit + "/memory.max": "4294967296\n", unit + "/memory.events": "oom 0\noom_kill 1\n"}, all},
		{"unit", map[string]string{unit + "/memory.max": "3221225472\n", unit + "/memory.events": "low 0\nmax 7\noom 1\noom_kill 1\n"},
			"QEMU was killed: the VM needed more memory than MemoryMax=3G of claude-vm@srv-web.service"},
		{"slice", map[string]string{
			unit + "/memory.max": "max\n", unit + "/memory.events": "oom 0\n",
			slice + "/memory.max": "1073741824\n", slice + "/memory.events": "oom 2\n",
		}, "QEMU was killed: the VM needed more memory than MemoryMax=1G of app.slice"},
	} {
		root := t.TempDir()
		for name, text := range test.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := explainOOM(root, "/"+unit); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
