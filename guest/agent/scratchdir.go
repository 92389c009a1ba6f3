package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// scratchDir is a file system on the disk, for files that are larger than the memory: a tmpfs has
// to keep a file in memory while fallocate(2) makes it. Its name is in guest/overlay, in CLAUDE.md.
const scratchDir = "/scratch"

// mountScratch makes a file system on an empty device, mounts it on scratchDir in the root
// directory r and opens that directory.
func mountScratch(r *root, device string) (dir *os.File, err error) {
	// All of it that the host has not written reads as zero, so nothing needs to be initialized.
	// Nothing of it is needed after a crash.
	mkfs := exec.Command("mke2fs", "-q", "-t", "ext4", "-m", "0", "-O", "^has_journal",
		"-E", fmt.Sprintf("root_owner=%d:%[1]d,nodiscard,lazy_itable_init=1,assume_storage_prezeroed=1", claudeID), device)
	var output bytes.Buffer
	mkfs.Stdout, mkfs.Stderr = &output, &output
	if err := mkfs.Start(); err != nil {
		return nil, err
	}
	// Claude is starting at the same time, and hardly ever needs this directory so soon.
	const lowest = 19
	if err := unix.Setpriority(unix.PRIO_PROCESS, mkfs.Process.Pid, lowest); err != nil {
		return nil, os.NewSyscallError("setpriority", err)
	}
	if err := mkfs.Wait(); err != nil {
		return nil, fmt.Errorf("mke2fs: %w: %s", err, bytes.TrimSpace(output.Bytes()))
	}
	err = r.thread(func() error {
		if err := os.Mkdir(scratchDir, 0o755); err != nil {
			return err // it is a directory of the image or of the host, which must not be hidden
		}
		if err := unix.Mount(device, scratchDir, "ext4", unix.MS_NOATIME, "discard"); err != nil {
			return &os.PathError{Op: "mount " + device, Path: scratchDir, Err: err}
		}
		if err := os.Remove(scratchDir + "/lost+found"); err != nil { // for fsck(8), which never runs
			return err
		}
		dir, err = os.Open(scratchDir)
		return err
	})
	return dir, err
}

// discardScratch makes the file system of dir forget what is not yet written. systemd calls sync(2)
// before it powers off, and would write all of it to the host, where nobody needs it.
func discardScratch(dir *os.File) error {
	// EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH of fs/ext4/ext4.h in Linux.
	const shutdown, noLogFlush = 0x8004587d, 2
	return os.NewSyscallError("EXT4_IOC_SHUTDOWN", unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush))
}
