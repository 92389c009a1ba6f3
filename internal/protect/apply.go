package protect

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Apply makes mounts in the directory root, which must be a mount point. It needs
// CAP_SYS_ADMIN in the user namespace of its mount namespace. scratch is an existing directory
// of the same namespace in which Apply creates what is shown in place of hidden paths.
func Apply(root, scratch string, mounts []Mount) error {
	for _, m := range mounts {
		if err := apply(root, scratch, m); err != nil {
			return fmt.Errorf("make %s %s: %w", m.Path, m.Mode, err)
		}
	}
	return nil
}

func apply(root, scratch string, m Mount) error {
	// Not kept open for all mounts: a mount on root itself is seen only by a new lookup.
	target, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { unix.Close(target) }()
	if m.Path != "." { // otherwise, root may be a file
		fd, err := openBeneath(target, m.Path)
		if err != nil {
			return err
		}
		unix.Close(target)
		target = fd
	}
	if now, err := typeOf(target); err != nil || now != m.Type {
		return cmp.Or(err, errors.New("it was replaced while the VM started"))
	}
	// Recursive, because a mount namespace with less privileges must not uncover what the
	// host has mounted over.
	const clone = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE
	from, name, flags := target, "", uint(clone|unix.AT_EMPTY_PATH)
	if m.Mode == Hidden {
		from, flags = unix.AT_FDCWD, clone
		if name, err = placeholder(scratch, m.Type); err != nil {
			return err
		}
	}
	tree, err := unix.OpenTree(from, name, flags)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(tree)
	// Private, or what is mounted in it would also be mounted in what it is a copy of.
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if m.Mode != ReadWrite {
		attr.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	err = unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return os.NewSyscallError("move_mount", err)
}

// placeholder returns the path of an empty directory or file without permissions, which it
// creates unless it exists.
func placeholder(scratch string, fileType uint32) (string, error) {
	if fileType == unix.S_IFDIR {
		name := filepath.Join(scratch, "hidden-directory")
		if err := os.Mkdir(name, 0); err != nil && !os.IsExist(err) {
			return "", err
		}
		return name, nil
	}
	name := filepath.Join(scratch, "hidden-file")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0)
	if os.IsExist(err) {
		return name, nil
	}
	if err != nil {
		return "", err
	}
	return name, f.Close()
}
