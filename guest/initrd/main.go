//go:build linux

// Command initrd is /init of the Debian guest's initrd. It loads kernel modules,
// mounts the read-only image with an overlay on a tmpfs and executes systemd.
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

	// dataDir is a directory that is not on the overlay: overlayfs cannot have its upper layer
	// on another one, and containers use overlayfs. It is also where the agent changes the size
	// of the tmpfs.
	dataDir = "/var/lib/claude-vm"

	// The device appears as soon as its driver is loaded. The timeout allows for a
	// host so busy that the guest hardly runs.
	deviceTimeout = 30 * time.Second
)

func main() {
	err := boot()
	// Power off instead of exiting: if PID 1 exits, the kernel panics and its trace
	// hides the message.
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

// mount creates target and mounts source on it.
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

// makeDeviceNodes sets up device nodes that sessions may use, as udev would. The kernel
// loads the tun module when the node is opened.
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
	// mknod applies the umask, chmod does not.
	return os.Chmod(tun, 0o666)
}

// loadModules loads all modules in dir, ordered by file name.
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
	// EEXIST: already loaded; ENODEV: this machine does not have the device.
	if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
		return &os.PathError{Op: "load", Path: name, Err: err}
	}
	return nil
}

// rootDevice returns the value of the last claude_vm.root= on the command line, or
// defaultRoot.
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

// readAhead makes the kernel read a megabyte at once instead of 128 KiB. The disk is in the host's
// page cache, where a request costs more than the bytes, and programs are needed almost whole.
func readAhead(device string) error {
	file := "/sys/class/block/" + strings.TrimPrefix(device, "/dev/") + "/queue/read_ahead_kb"
	return os.WriteFile(file, []byte("1024\n"), 0)
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

// switchRoot makes dir the root directory, moves the kernel's file systems into it and
// frees the initrd's memory.
func switchRoot(dir string) error {
	for _, name := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Mount(name, dir+name, "", unix.MS_MOVE, ""); err != nil {
			return &os.PathError{Op: "move " + name, Path: dir + name, Err: err}
		}
	}
	if err := errors.Join(os.RemoveAll(moduleDir), os.Remove("/init")); err != nil {
		return err
	}
	// pivot_root(2) does not work on the initramfs.
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
