//go:build linux

// Command initrd is /init of the Debian guest's initrd: it loads the modules
// the root file system needs, mounts the read-only image under a tmpfs and
// becomes systemd. It does not set up a network or a user.
package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	moduleDir   = "/modules"
	defaultRoot = "/dev/vda"
	rootOption  = "claude_vm.root="
	systemd     = "/usr/lib/systemd/systemd"

	// The device is there as soon as its driver is loaded; the time is for a
	// host so busy that the guest hardly runs.
	deviceTimeout = 30 * time.Second
)

func main() {
	err := boot()
	// PID 1 must not return: the kernel would panic with a trace that hides
	// the message.
	os.Stderr.WriteString("claude-vm initrd: error: " + err.Error() + "\n")
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot returns only if it fails.
func boot() error {
	if err := mountKernelFilesystems(); err != nil {
		return err
	}
	if err := makeDeviceNodes(); err != nil {
		return err
	}
	if err := loadModules(moduleDir); err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if err := mountRoot(rootDevice(string(cmdline))); err != nil {
		return err
	}
	if err := switchRoot("/root"); err != nil {
		return err
	}
	err = syscall.Exec(systemd, []string{systemd}, os.Environ())
	return &os.PathError{Op: "exec", Path: systemd, Err: err}
}

// mount makes the mount point and mounts.
func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return &os.PathError{Op: "mount " + fstype + " " + source, Path: target, Err: err}
	}
	return nil
}

func mountKernelFilesystems() error {
	const flags = unix.MS_NOSUID | unix.MS_NOEXEC
	return errors.Join(
		mount("proc", "/proc", "proc", flags|unix.MS_NODEV, ""),
		mount("sysfs", "/sys", "sysfs", flags|unix.MS_NODEV, ""),
		mount("devtmpfs", "/dev", "devtmpfs", flags, "mode=0755"),
	)
}

// makeDeviceNodes does what udev would for devices that a session may use.
// Opening tun loads its module.
func makeDeviceNodes() error {
	if err := os.Chmod("/dev/fuse", 0o666); err != nil {
		return err
	}
	if err := os.Mkdir("/dev/net", 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	const tun = "/dev/net/tun"
	if err := unix.Mknod(tun, unix.S_IFCHR, int(unix.Mkdev(10, 200))); err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mknod", Path: tun, Err: err}
	}
	// Not in mknod, where the umask would count.
	return os.Chmod(tun, 0o666)
}

// loadModules loads what is in dir, in the order of the file names.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := loadModule(dir + "/" + entry.Name()); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	// EEXIST: the kernel was quicker; ENODEV: this machine lacks the device.
	if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
		return &os.PathError{Op: "load", Path: name, Err: err}
	}
	return nil
}

// rootDevice is the value of the last claude_vm.root= on the command line.
func rootDevice(cmdline string) string {
	device := defaultRoot
	for _, word := range strings.Fields(cmdline) {
		if value, ok := strings.CutPrefix(word, rootOption); ok {
			device = value
		}
	}
	return device
}

func mountRoot(device string) error {
	if err := waitForDevice(device); err != nil {
		return err
	}
	if err := mount(device, "/image", "erofs", unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", "/changes", "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, dir := range []string{"/changes/upper", "/changes/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	err := mount("overlay", "/root", "overlay", 0, "lowerdir=/image,upperdir=/changes/upper,workdir=/changes/work")
	if err != nil {
		return err
	}
	// The overlay holds its layers itself; mounted here they would only be
	// in systemd's way at shutdown.
	return errors.Join(
		unix.Unmount("/image", unix.MNT_DETACH),
		unix.Unmount("/changes", unix.MNT_DETACH),
	)
}

func waitForDevice(device string) error {
	deadline := time.Now().Add(deviceTimeout)
	for {
		_, err := os.Stat(device)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// switchRoot makes dir the root directory, with the kernel's file systems in
// it, and gives the initrd's memory back.
func switchRoot(dir string) error {
	for _, name := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Mount(name, dir+name, "", unix.MS_MOVE, ""); err != nil {
			return &os.PathError{Op: "move " + name, Path: dir + name, Err: err}
		}
	}
	if err := errors.Join(os.RemoveAll(moduleDir), os.Remove("/init")); err != nil {
		return err
	}
	// pivot_root(2) is not possible on the initramfs.
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return &os.PathError{Op: "move", Path: "/", Err: err}
	}
	if err := unix.Chroot("."); err != nil {
		return &os.PathError{Op: "chroot", Path: dir, Err: err}
	}
	return unix.Chdir("/")
}
