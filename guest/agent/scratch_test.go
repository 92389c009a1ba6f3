package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindScratch(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("vda/serial", "")
	write("vda/size", "1000\n")
	if device, _, err := findScratch(dir); device != "" || err != nil {
		t.Errorf("without a scratch disk: %q, %v", device, err)
	}
	write("vdc/serial", "scratch") // without a line break, as virtio_blk writes it
	write("vdc/size", "2048\n")
	if device, bytes, err := findScratch(dir); device != "/dev/vdc" || bytes != 1<<20 || err != nil {
		t.Errorf("findScratch() = %q, %d, %v", device, bytes, err)
	}
}
