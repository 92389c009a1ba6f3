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

// mountScratch makes a file system on an empty device and mounts it on scratchDir in the root
// directory r.
func mountScratch(r *root, device string) error {
	// All of it that the host has not written reads as zero, so nothing needs to be initialized.
	// Nothing of it is needed after a crash.
	mkfs := exec.Command("mke2fs", "-q", "-t", "ext4", "-m", "0", "-O", "^has_journal",
		"-E", fmt.Sprintf("root_owner=%d:%[1]d,nodiscard,lazy_itable_init=1,assume_storage_prezeroed=1", claudeID), device)
	var output bytes.Buffer
	mkfs.Stdout, mkfs.Stderr = &output, &output
	if err := mkfs.Start(); err != nil {
		return err
	}
	// Claude is starting at the same time, and hardly ever needs this directory so soon.
	const lowest = 19
	if err := unix.Setpriority(unix.PRIO_PROCESS, mkfs.Process.Pid, lowest); err != nil {
		return os.NewSyscallError("setpriority", err)
	}
	if err := mkfs.Wait(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, bytes.TrimSpace(output.Bytes()))
	}
	return r.thread(func() error {
		if err := os.Mkdir(scratchDir, 0o755); err != nil {
			return err // it is a directory of the image or of the host, which must not be hidden
		}
		if err := unix.Mount(device, scratchDir, "ext4", unix.MS_NOATIME, "discard"); err != nil {
			return &os.PathError{Op: "mount " + device, Path: scratchDir, Err: err}
		}
		return os.Remove(scratchDir + "/lost+found") // for fsck(8), which never runs
	})
}
