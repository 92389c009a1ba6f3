package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/sys/unix"
)

const (
	// imageDir is where mountImage mounts the file systems of an image, before it is a root.
	imageDir = runtimeDir + "/image"
	// imageChanges is the directory with the upper layer of an image. It grows with the scratch disk.
	imageChanges = dataDir + "/image"
	// baseDir is the guest's own root directory, as it is seen in an image.
	baseDir = runtimeDir + "/base"
)

// root is the root directory of Claude, shells and commands: that of a container image, in a
// mount namespace of its own. Nil stands for the guest's own root directory. A chroot would not
// do: in it, the kernel permits no user namespaces, which sandboxes need.
type root struct {
	namespace *os.File
	variables []string // NAME=VALUE, of the image
}

// do calls fn on a thread that has the root directory r.
func (r *root) do(fn func() error) error {
	if r == nil {
		return fn()
	}
	return r.thread(fn)
}

// thread does the same, but always on a thread of its own, whose namespaces fn may change.
func (r *root) thread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: no other goroutine may use its namespace
		err := r.enter()
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

func (r *root) enter() error {
	if r == nil {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return os.NewSyscallError("setns", unix.Setns(int(r.namespace.Fd()), unix.CLONE_NEWNS))
}

// as calls fn on a thread of its own that has the user's access to files, and no more. It cannot
// be signaled by processes of the user, as one with the user's ID could.
func (r *root) as(c *syscall.Credential, fn func()) error {
	return r.thread(func() error {
		groups := append([]uint32{c.Gid}, c.Groups...)
		// Not unix.Setgroups, which would change all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
			return os.NewSyscallError("setgroups", errno)
		}
		if err := errors.Join(unix.Setfsgid(int(c.Gid)), unix.Setfsuid(int(c.Uid))); err != nil {
			return err
		}
		if uid, err := unix.SetfsuidRetUid(-1); uid != int(c.Uid) {
			return fmt.Errorf("access files as user %d: %w", c.Uid, cmp.Or(err, error(unix.EPERM)))
		}
		fn()
		return nil
	})
}

// mountImage makes the root directory of a container image the root of a new mount namespace.
func mountImage(image contract.Image) (*root, error) {
	device, err := findDisk(blockDevices, contract.ImageDisk)
	if err != nil {
		return nil, err
	}
	if device == "" {
		return nil, fmt.Errorf("no disk with the serial number %q: install units and guest of the same version of claude-vm", contract.ImageDisk)
	}
	for _, dir := range []string{imageDir, baseDir, imageChanges} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	tools, err := findTools()
	if err != nil {
		return nil, err
	}
	r := &root{variables: image.Environment}
	err = (*root)(nil).thread(func() error {
		if err := pivotToImage(device); err != nil {
			return err
		}
		r.namespace, err = os.Open("/proc/thread-self/ns/mnt")
		return errors.Join(err, prepareImage(tools, r.path()))
	})
	if err != nil {
		return nil, fmt.Errorf("the image: %w", err)
	}
	return r, nil
}

// pivotToImage moves its thread to a new mount namespace. Its root is the image on a device,
// below an overlay in memory. The old root is at baseDir.
func pivotToImage(device string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	mount := func(source, target, fstype string, flags uintptr, data string) error {
		if err := unix.Mount(source, target, fstype, flags, data); err != nil {
			return &os.PathError{Op: "mount " + fstype + " " + source, Path: target, Err: err}
		}
		return nil
	}
	if err := errors.Join(
		mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		mount(imageChanges, imageDir, "", unix.MS_BIND, ""),
	); err != nil {
		return err
	}
	const lower, upper, work, merged = imageDir + "/lower", imageDir + "/upper", imageDir + "/work", imageDir + "/root"
	// Directories of the upper layer replace files and links of the image with these names.
	for _, dir := range []string{lower, work, merged, upper + "/proc", upper + "/sys", upper + "/dev", upper + runtimeDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(
		mount(device, lower, "erofs", unix.MS_RDONLY, ""),
		mount("overlay", merged, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work),
	); err != nil {
		return err
	}
	if err := errors.Join(
		mount("/proc", merged+"/proc", "", unix.MS_BIND|unix.MS_REC, ""),
		mount("/sys", merged+"/sys", "", unix.MS_BIND|unix.MS_REC, ""),
		mount("/dev", merged+"/dev", "", unix.MS_BIND|unix.MS_REC, ""),
		mount(runtimeDir, merged+runtimeDir, "", unix.MS_BIND, ""),
	); err != nil {
		return err
	}
	if err := unix.PivotRoot(merged, merged+baseDir); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run"} {
		if err := unix.Unmount(baseDir+dir, unix.MNT_DETACH); err != nil {
			return &os.PathError{Op: "unmount", Path: baseDir + dir, Err: err}
		}
	}
	return mount("", baseDir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// claudeID is the user and group ID of Claude and of the files of the host's share.
const claudeID = 1000

// lookupUser returns a user of the guest or image. The user of UserClaude may have another name
// in an image.
func lookupUser(name string) (*user.User, error) {
	switch name {
	case contract.UserClaude:
		return user.LookupId(fmt.Sprint(claudeID))
	case contract.UserRoot:
		return user.LookupId("0")
	}
	return user.Lookup(name)
}

// path returns the value of PATH. In an image, the guest's own programs come last.
func (r *root) path() string {
	if r == nil {
		return os.Getenv("PATH")
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, variable := range r.variables {
		if value, found := strings.CutPrefix(variable, "PATH="); found && value != "" {
			path = value
		}
	}
	return path + ":" + toolsDir
}

// shell returns the path of bash, the one shell that both Claude Code and people use.
func (r *root) shell() string {
	for _, path := range []string{"/bin/bash", "/usr/bin/bash"} {
		if r == nil || isProgram(path) {
			return path
		}
	}
	return toolsDir + "/bash"
}

// program returns the path of one of the guest's own programs.
func (r *root) program(path string) string {
	if r == nil {
		return path
	}
	return filepath.Join(toolsDir, filepath.Base(path))
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// credential returns what a process of u gets, with the supplementary groups of u.
func credential(o owner, u *user.User) *syscall.Credential {
	c := &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	groups, _ := u.GroupIds() // without a group(5), there are none
	for _, group := range groups {
		var id uint32
		if _, err := fmt.Sscan(group, &id); err == nil {
			c.Groups = append(c.Groups, id)
		}
	}
	return c
}
