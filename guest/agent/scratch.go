package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/sys/unix"
)

// dataDir is a mount point on the tmpfs with the changes of the root file system, if that is an
// overlay.
const dataDir = "/var/lib/claude-vm"

// blockDevices has a directory for each block device.
const blockDevices = "/sys/class/block"

// useScratch uses the first half of the scratch disk as swap space, if there is one, and lets the
// tmpfs of the root file system grow by its size. The other half becomes scratchDir.
func (a *agent) useScratch(r *root) {
	if err := probeScratch(blockDevices); err != nil {
		logScratch(err)
	}
	disk, bytes, err := findScratch(blockDevices)
	if err != nil || disk == "" {
		logScratch(err)
		return
	}
	// Discard frees the space on the host when pages are freed. Linux does that only for a disk
	// that does not rotate.
	rotational := filepath.Join(blockDevices, filepath.Base(disk), "queue/rotational")
	if err := os.WriteFile(rotational, []byte("0\n"), 0); err != nil {
		logScratch(err)
	}
	half := bytes / 2 >> 20 << 20
	for number := range 2 {
		if err := addPartition(disk, 1+number, uint64(number)*half, half); err != nil {
			logScratch(err)
			return
		}
	}
	if err := errors.Join(makeSwap(disk+"1", half), swapOn(disk+"1")); err != nil {
		logScratch(err)
	} else {
		logScratch(growRoot(half))
	}
	dir, err := mountScratch(r, disk+"2")
	if err != nil {
		log.Printf("no file system on %s: %v", scratchDir, err)
		return
	}
	a.scratch.Store(dir)
}

// addPartition makes a part of a disk a device of its own, as addpart(8). The disk has no
// partition table.
func addPartition(disk string, number int, start, bytes uint64) error {
	f, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer f.Close()
	p := unix.BlkpgPartition{Start: int64(start), Length: int64(bytes), Pno: int32(number)}
	argument := unix.BlkpgIoctlArg{Op: unix.BLKPG_ADD_PARTITION, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&argument))); errno != 0 {
		return os.NewSyscallError("BLKPG", errno)
	}
	return nil
}

// makeSwap writes the header of a swap area, as mkswap(8): union swap_header of linux/swap.h.
func makeSwap(disk string, bytes uint64) error {
	pageSize := os.Getpagesize()
	header := make([]byte, pageSize)
	binary.NativeEndian.PutUint32(header[1024:], 1) // version
	binary.NativeEndian.PutUint32(header[1028:], uint32(bytes/uint64(pageSize)-1))
	copy(header[pageSize-10:], "SWAPSPACE2")
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(header)
	return errors.Join(err, f.Close())
}

// swapOn calls swapon(2) with discard.
func swapOn(disk string) error {
	const discard = 0x10000 // SWAP_FLAG_DISCARD of linux/swap.h
	path, err := unix.BytePtrFromString(disk)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), discard, 0); errno != 0 {
		return &os.PathError{Op: "swapon", Path: disk, Err: errno}
	}
	return nil
}

func logScratch(err error) {
	if err != nil {
		log.Printf("the scratch disk cannot be used: %v", err)
	}
}

// findScratch returns the device and the size of the scratch disk. The device is empty if there
// is none.
func findScratch(blockDevices string) (device string, bytes uint64, err error) {
	if device, err = findDisk(blockDevices, contract.ScratchSerial); device == "" {
		return "", 0, err
	}
	text, err := os.ReadFile(filepath.Join(blockDevices, filepath.Base(device), "size"))
	if err != nil {
		return "", 0, err
	}
	sectors, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return device, sectors * 512, err
}

// findDisk returns the device of the virtio-blk disk with a serial number; empty if there is none.
func findDisk(blockDevices, serial string) (device string, err error) {
	files, err := filepath.Glob(blockDevices + "/*/serial")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.TrimRight(string(text), "\x00\n ") == serial {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(file))), nil
		}
	}
	return "", err
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
