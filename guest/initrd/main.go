//go:build linux

// Command initrd is /init of the guests' initrds. It loads kernel modules, mounts the root
// file system and executes systemd. Only one program runs until then; with systemd and udev
// in the initrd, a boot without KVM takes several seconds longer.
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
	moduleDir = "/modules"
	// tableFile is in the initrd of the NixOS guest only.
	tableFile = "/fstab"

	// The device appears as soon as its driver is loaded. The timeout allows for a
	// host so busy that the guest hardly runs.
	deviceTimeout = 30 * time.Second
)

// kernelFilesystems are mounted first, because loading modules needs them.
var kernelFilesystems = []string{"/proc", "/sys", "/dev"}

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
	table, err := os.ReadFile(tableFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return bootDebian(string(cmdline))
	case err != nil:
		return err
	}
	return bootNixOS(string(table), string(cmdline))
}

// execute replaces this process by systemd.
func execute(systemd string) error {
	err := syscall.Exec(systemd, []string{systemd}, os.Environ())
	return &os.PathError{Op: "exec", Path: systemd, Err: err}
}

// option returns the value of the last option on the kernel command line that begins with
// prefix, or "".
func option(cmdline, prefix string) (value string) {
	for _, word := range strings.Fields(cmdline) {
		if v, ok := strings.CutPrefix(word, prefix); ok {
			value = v
		}
	}
	return value
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

// deviceNodes are those that sessions use, with the numbers of devices.txt in the kernel's
// documentation. The kernel loads a missing module when its node is opened.
var deviceNodes = []struct {
	name         string
	major, minor uint32
	mode         os.FileMode
}{
	{"/dev/fuse", 10, 229, 0o666},
	{"/dev/loop-control", 10, 237, 0o600},
	{"/dev/net/tun", 10, 200, 0o666},
}

// makeDeviceNodes creates the nodes that the kernel has not, and sets their modes, as udev
// would.
func makeDeviceNodes() error {
	if err := os.Mkdir("/dev/net", 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, node := range deviceNodes {
		err := unix.Mknod(node.name, unix.S_IFCHR, int(unix.Mkdev(node.major, node.minor)))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mknod", Path: node.name, Err: err}
		}
		// mknod applies the umask, chmod does not.
		if err := os.Chmod(node.name, node.mode); err != nil {
			return err
		}
	}
	return nil
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

// enterRoot makes dir the root directory and frees the initrd's memory.
func enterRoot(dir string) error {
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
