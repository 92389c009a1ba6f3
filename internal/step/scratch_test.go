package step

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestScratchFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "id")
	if err := os.WriteFile(path, []byte("left over"), 0o400); err != nil {
		t.Fatal(err)
	}
	f, err := newScratchFile(path, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the file has a name: %v, %v", entries, err)
	}
	blocks := func() int64 {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size != 2*8<<20 {
			t.Errorf("the file has %d bytes, %v", st.Size, err)
		}
		return st.Blocks
	}
	if _, err := f.WriteAt(make([]byte, 4<<20), 2<<20); err != nil || blocks() < 4<<11 {
		t.Errorf("4 MiB written, %d blocks, %v", blocks(), err)
	}
	if err := f.Discard(2<<20, 4<<20); err != nil || blocks() > 100 {
		t.Errorf("discarded, but %d blocks left, %v", blocks(), err)
	}
	if _, err := newScratchFile(filepath.Join(dir, "none", "id"), 1); err == nil {
		t.Error("a file in a directory that does not exist")
	}
	if f, err := newScratchFile(path, 1<<62); err != nil || f.Size() > 1<<62-1 {
		t.Errorf("a disk of more than what is free: %v", err)
	}
}
