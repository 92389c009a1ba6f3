//go:build linux

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	defaultRoot = "/dev/vda"
	rootOption  = "claude_vm.root="

	// dataDir is a directory that is not on the overlay: overlayfs cannot have its upper layer
	// on another one, and containers use overlayfs. It is also where the agent changes the size
	// of the tmpfs.
	dataDir = "/var/lib/claude-vm"
)

// bootDebian mounts the read-only image with an overlay on a tmpfs.
func bootDebian(cmdline string) error {
	device := option(cmdline, rootOption)
	if device == "" {
		device = defaultRoot
	}
	if err := mountRoot(device); err != nil {
		return err
	}
	for _, name := range kernelFilesystems {
		if err := unix.Mount(name, "/root"+name, "", unix.MS_MOVE, ""); err != nil {
			return &os.PathError{Op: "move " + name, Path: "/root" + name, Err: err}
		}
	}
	if err := enterRoot("/root"); err != nil {
		return err
	}
	return execute("/usr/lib/systemd/systemd")
}

func mountRoot(device string) error {
	if err := waitForDevice(device); err != nil {
		return err
	}
	if err := readAhead(device); err != nil {
		return err
	}
	if err := mount(device, "/image", "erofs", unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", "/changes", "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, dir := range []string{"/changes/upper", "/changes/work", "/changes/data"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	err := mount("overlay", "/root", "overlay", 0, "lowerdir=/image,upperdir=/changes/upper,workdir=/changes/work")
	if err != nil {
		return err
	}
	if err := mount("/changes/data", "/root"+dataDir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	// The overlay keeps its layers in use. Unmount them here, or systemd would have
	// to do it at shutdown.
	return errors.Join(
		unix.Unmount("/image", unix.MNT_DETACH),
		unix.Unmount("/changes", unix.MNT_DETACH),
	)
}
