package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/inotify"
	"golang.org/x/sys/unix"
)

func TestMarks(t *testing.T) {
	m := marks{}
	m.add("pos:\t0\n")
	m.add("inotify wd:1 ino:2 sdev:10002c mask:806 ignored_mask:0 fhandle-bytes:c fhandle-type:81 f_handle:0200000000000000\n")
	if dev := unix.Mkdev(1, 0x2c); len(m) != 2 || !m.has(dev) || m[fileMark(dev, "0200000000000000")] != 0x806 {
		t.Errorf("marks: %v", m)
	}
}

// TestNotifier watches a directory in this process. As readMarks leaves this process out, it passes the marks
// to the notifier.
func TestNotifier(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"d/seen": 0o600, "d/program": 0o700, "d/unseen/file": 0o600} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, mode)); err != nil {
			t.Fatal(err)
		}
	}
	n, err := newNotifier(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	queue, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(queue)
	if _, err := unix.InotifyAddWatch(queue, filepath.Join(dir, "d"), unix.IN_ALL_EVENTS); err != nil {
		t.Fatal(err)
	}
	m := marks{}
	text, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", strconv.Itoa(queue)))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		m.add(line)
	}
	if len(m) == 0 {
		t.Fatalf("no marks in %s", text)
	}
	modified := func(name string) int64 {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime().UnixNano()
	}
	for _, c := range []struct {
		name string
		off  int64 // of the time of modification
		want bool
	}{{"d/seen", -1, false}, {"d/unseen/file", 0, true}, {"d/missing", 0, false}, {"../" + filepath.Base(dir) + "/d/seen", 0, false}, {"d/seen", 0, true}, {"d/program", 0, true}} {
		var at int64
		if c.name != "d/missing" {
			at = modified(c.name) + c.off
		}
		if got := n.touch(c.name, at, m); got != c.want {
			t.Errorf("touch(%s, %d) = %v", c.name, c.off, got)
		}
	}
	buf := make([]byte, 4096)
	got, _ := unix.Read(queue, buf)
	var modifiedNames, closed []string
	for e := range inotify.Events(buf[:max(got, 0)]) {
		if e.Mask&unix.IN_MODIFY != 0 {
			modifiedNames = append(modifiedNames, e.Name)
		}
		if e.Mask&unix.IN_CLOSE_WRITE != 0 {
			closed = append(closed, e.Name)
		}
	}
	if !slices.Equal(modifiedNames, []string{"seen", "program"}) || !slices.Equal(closed, []string{"seen"}) {
		t.Errorf("modified: %q, closed: %q", modifiedNames, closed)
	}
	if changed := n.drain(); !changed["d/seen"] {
		t.Errorf("own events: %v", changed)
	}
	os.WriteFile(filepath.Join(dir, "d/own"), nil, 0o600)
	if changed := n.drain(); !changed["d/own"] || changed["d/seen"] {
		t.Errorf("own events: %v", changed)
	}
	if events := readMarks().of(n.root, "d"); events != 0 {
		t.Errorf("this process counts as one that watches, for %#x", events)
	}
	if n.notify([]contract.Change{{Path: []byte("d/seen")}}, marks{}) {
		t.Error("watched, although no process watches it")
	}
}
