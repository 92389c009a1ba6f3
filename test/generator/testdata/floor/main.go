// Command floor makes the system calls of ../floor.c in the same order, in Go: what it
// costs more is the cost of Go, of which the generator can save nothing.
package main

import (
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

func main() {
	debug.SetGCPercent(-1) // as in the generator
	dir := os.Getenv("CLAUDE_VM_UNIT_DIRS")
	entries, err := os.ReadDir(dir)
	check(err)
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".vm"))
	}
	in, out := open(dir), open(os.Args[1])
	check(unix.Mkdirat(out, "default.target.wants", 0o755))
	half := len(names) / 2
	both(
		func() { readFiles(in, names[:half]) },
		func() { readFiles(in, names[half:]) })
	both(
		func() { makeDirectories(out, names) },
		func() { makeLinks(out, names) })
	both(
		func() { makeFiles(out, names[:half]) },
		func() { makeFiles(out, names[half:]) })
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func open(dir string) int {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(err)
	return fd
}

// both runs two functions in parallel.
func both(first, second func()) {
	var w sync.WaitGroup
	w.Go(second)
	first()
	w.Wait()
}

// readFiles reads files, and looks for symbolic links in the paths of work directories.
func readFiles(in int, names []string) {
	var content [4096]byte
	var st unix.Stat_t
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	for _, name := range names {
		fd, err := unix.Openat(in, name+".vm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		check(err)
		check(unix.Fstat(fd, &st))
		_, err = unix.Read(fd, content[:])
		check(err)
		check(unix.Close(fd))
		if fd, err := unix.Openat2(unix.AT_FDCWD, "/srv/"+name, &how); err == nil {
			unix.Close(fd)
		}
	}
}

var units = [...]string{"claude-vm-setup@srv-", "claude-vm-virtiofsd@srv-", "claude-vm@srv-"}

func makeDirectories(out int, names []string) {
	for _, name := range names {
		for _, unit := range units {
			check(unix.Mkdirat(out, unit+name+".service.d", 0o755))
		}
	}
}

func makeLinks(out int, names []string) {
	for _, name := range names {
		check(unix.Symlinkat("../claude-vm@.service", out, "default.target.wants/claude-vm@srv-"+name+".service"))
	}
}

func makeFiles(out int, names []string) {
	text := []byte(strings.Repeat("#", 440))
	for _, name := range names {
		for _, unit := range units {
			fd, err := unix.Openat(out, unit+name+".service.d/50-vm.conf", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
			check(err)
			_, err = unix.Write(fd, text)
			check(err)
			check(unix.Close(fd))
		}
	}
}
