package step

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"unsafe"

	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/protect"
	"golang.org/x/sys/unix"
)

// share protects what setup has found to be protected, listens on the socket args[2], notifies
// systemd that it is ready, and executes args[3], virtiofsd, with the socket as file descriptor
// 3. The directories that the instance on args[0] shares are mounted in args[1]; they must be
// those that setup has checked.
func share(ctx context.Context, args []string) (int, error) {
	endIfStopped := takeSignals(ctx)
	if len(args) < 4 {
		return 0, failure.New(failure.Usage, "", "share needs a directory, a directory with the shares, a socket and a command")
	}
	record, err := readRecord(args[0])
	if err != nil {
		return 0, err
	}
	if err := protectShares(record, args[0], args[1]); err != nil {
		return 0, err
	}
	// Before the files below are open, which it would inherit.
	if record.Settings.Inotify {
		if err := startBeside("watch-host", filepath.Join(args[1], contract.ShareWork)); err != nil {
			return 0, err
		}
	}
	socket, command := args[2], args[3:]
	path, err := preflight.FindVirtiofsd(command[0])
	if err != nil {
		return 0, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return 0, err
	}
	file, err := listener.File()
	if err != nil {
		return 0, err
	}
	// execve(2) closes file, but not a duplicate, which has no FD_CLOEXEC. (If file had the
	// number 3 itself, dup2 would leave FD_CLOEXEC set; but 3 is the listener.)
	if err := unix.Dup2(int(file.Fd()), 3); err != nil {
		return 0, err
	}
	// virtiofsd inherits the lock; see shareLives.
	lock, err := unix.Open(contract.ShareLock, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err == nil {
		err = unix.Flock(lock, unix.LOCK_SH|unix.LOCK_NB)
	}
	if err != nil {
		return 0, fmt.Errorf("lock %s: %w", contract.ShareLock, err)
	}
	// To mount, it has a capability of the user namespace that unshare(1) has made. virtiofsd does not get it.
	if err := checkConfined(instance.Escape(args[0]), confine.Wanted{Capabilities: 1 << unix.CAP_SYS_ADMIN}); err != nil {
		return 0, err
	}
	notify("READY=1")
	endIfStopped()
	return 0, execWithout(path, append([]string{"virtiofsd"}, command[1:]...))
}

// scratch is empty and writable in claude-vm-virtiofsd@. It is not $TMPDIR, which the user manager
// may have set to a directory that does not exist there.
const scratch = "/tmp"

// protectShares checks that the directories and files in root are those that setup has
// checked: the guest of another VM, which shares a parent directory, could have replaced them
// since then. Then it protects paths in them.
func protectShares(record instance.Record, dir, root string) error {
	protected := false
	for _, s := range record.Shares {
		path := filepath.Join(root, s.Name)
		device, inode, err := identity(path)
		if err == nil && (device != s.Device || inode != s.Inode) {
			err = fmt.Errorf("%s was replaced by another directory while the VM started", s.Path)
		}
		if err != nil {
			return err
		}
		if len(s.Mounts) == 0 {
			continue
		}
		protected = true
		if err := protectShare(path, s.Mounts); err != nil {
			return fmt.Errorf("protect paths in %s: %w", s.Path, err)
		}
	}
	if !protected {
		return nil
	}
	// It stays in this unit, with the capability that virtiofsd does not get.
	return startBeside("watch-share", dir, root)
}

// startBeside starts another step in this unit.
func startBeside(step string, args ...string) error {
	c := exec.Command("/proc/self/exe", append([]string{"unit", step, "--"}, args...)...)
	c.Stderr = os.Stderr
	return c.Start()
}

func protectShare(path string, mounts []protect.Mount) error {
	if err := protect.Apply(path, scratch, mounts); err != nil {
		return err
	}
	return protect.Propagate(path)
}

// watchShare repeats the mounts that protect paths in the shares, which are in args[1], when the host
// has replaced what is there. If that fails, it kills virtiofsd, which executes in its parent: files would
// lose their protection. If it is killed for lack of memory, systemd stops the unit (OOMPolicy=).
func watchShare(ctx context.Context, args []string) (int, error) {
	kill, err := parentKiller()
	if err != nil {
		return 0, err
	}
	if err = repeatMounts(ctx, args); err != nil && ctx.Err() == nil {
		err = errors.Join(fmt.Errorf("stopping the share, whose files cannot be protected any more: %w", err), kill())
	}
	return 0, err
}

// parentKiller returns a function that kills the parent of this process, and no other process that has its
// ID later.
func parentKiller() (kill func() error, err error) {
	parent := os.Getppid()
	process, err := os.FindProcess(parent) // opens a pidfd
	if err == nil && os.Getppid() != parent {
		err = errors.New("virtiofsd has ended")
	}
	if err != nil {
		return nil, err
	}
	return process.Kill, nil
}

func repeatMounts(ctx context.Context, args []string) error {
	record, err := readRecord(args[0])
	if err != nil {
		return err
	}
	var shares []protect.Shared
	for _, s := range record.Shares {
		shares = append(shares, protect.Shared{Root: filepath.Join(args[1], s.Name), Mounts: s.Mounts})
	}
	return protect.Watch(ctx, scratch, shares, func(path, text string) {
		fmt.Fprintf(os.Stderr, "%q %s\n", path, text)
	})
}

// identity returns the device and inode of a directory or file. Unlike the path, they change
// when it is replaced by another one.
func identity(path string) (device, inode uint64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Dev, st.Ino, nil
}

// dropCapabilities drops the capabilities of this process, which has them from setpriv(1).
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	if errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return nil
}

// execWithout executes a program in place of this process, without its capabilities.
func execWithout(path string, argv []string) error {
	if err := dropCapabilities(); err != nil {
		return err
	}
	if err := confine.DenyDatagrams(); err != nil {
		return err
	}
	if err := confine.DenyUnnamedFiles(); err != nil {
		return err
	}
	return syscall.Exec(path, argv, ownEnvironment())
}
