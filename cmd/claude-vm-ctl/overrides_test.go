package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestIgnored: the user is told of a file whose settings are in force nowhere, because it does not say
// for which directory they are. Errors in other files are not those of every VM.
func TestIgnored(t *testing.T) {
	config := t.TempDir()
	for name, text := range map[string]string{
		"relative.vm": "[VM]\nWorkDirectory=~/src\n[Network]\nMode=none\n", "good.vm": "[VM]\nWorkDirectory=/srv/good\n",
		"bad.vm": "[VM]\nWorkDirectory=/srv/bad\nMemory=x\n",
	} {
		file := filepath.Join(config, "claude-vm", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := &target{dir: "/srv/other", paths: instance.Paths{Home: "/home/user", Config: config}}
	found := v.ignored()
	if len(found) != 1 || found[0].Error() != filepath.Join(config, "claude-vm/relative.vm")+":2: WorkDirectory=~/src: not an absolute path" {
		t.Errorf("ignored: %v", found)
	}
}
