package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/sys/unix"
)

// dataDir is a mount point on the tmpfs with the changes of the root file system, if that is an
// overlay.
const dataDir = "/var/lib/claude-vm"

// useScratch uses the scratch disk as swap space, if there is one, and lets the tmpfs of the
// root file system grow by its size.
func useScratch() {
	disk, bytes, err := findScratch("/sys/class/block")
	if err != nil || disk == "" {
		logScratch(err)
		return
	}
	// Discard frees the space on the host when pages are freed.
	for _, argv := range [][]string{{"mkswap", disk}, {"swapon", "--discard", disk}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			logScratch(fmt.Errorf("%s: %w: %s", argv[0], err, out))
			return
		}
	}
	logScratch(growRoot(bytes))
}

func logScratch(err error) {
	if err != nil {
		log.Printf("the scratch disk cannot be used: %v", err)
	}
}

// findScratch returns the device and the size of the scratch disk. The device is empty if there
// is none.
func findScratch(blockDevices string) (device string, bytes uint64, err error) {
	names, err := filepath.Glob(blockDevices + "/vd*/serial")
	for _, name := range names {
		if serial, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(serial)) != contract.ScratchSerial {
			continue
		}
		dir := filepath.Dir(name)
		text, err := os.ReadFile(dir + "/size")
		if err != nil {
			return "", 0, err
		}
		sectors, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		return "/dev/" + filepath.Base(dir), sectors * 512, err
	}
	return "", 0, err
}

// growRoot changes the size of the tmpfs of the root file system from half of the memory, the
// default, to half of the memory and the swap space.
func growRoot(swap uint64) error {
	var info unix.Sysinfo_t
	var root unix.Statfs_t
	if err := errors.Join(unix.Sysinfo(&info), unix.Statfs("/", &root)); err != nil {
		return err
	}
	target := "/"
	if root.Type != unix.TMPFS_MAGIC {
		target = dataDir
	}
	memory := uint64(info.Totalram) * uint64(info.Unit)
	// Inodes are not swapped. By default, there is one for each two pages of memory.
	options := fmt.Sprintf("size=%d,nr_inodes=%d", memory/2+swap, memory/uint64(os.Getpagesize()))
	if err := unix.Mount("", target, "", unix.MS_REMOUNT, options); err != nil {
		return &os.PathError{Op: "remount", Path: target, Err: err}
	}
	return nil
}
