package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// owner is a user of the guest who owns the mount points created in its home.
type owner struct {
	home     string
	uid, gid int
}

func lookupOwner(name string) (owner, error) {
	u, err := lookupUser(name)
	if err != nil {
		return owner{}, err
	}
	return newOwner(u)
}

func newOwner(u *user.User) (owner, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return owner{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if uid == claudeID { // in an image, the group of this user may be another
		gid = claudeID
	}
	return owner{home: u.HomeDir, uid: uid, gid: gid}, err
}

// chown changes the owner of a new file if it is in the owner's home.
func (o owner) chown(path string) error {
	if !strings.HasPrefix(path, o.home+"/") {
		return nil
	}
	return os.Lchown(path, o.uid, o.gid)
}

// makeDirectories creates a directory and its parents, unless they exist.
func (o owner) makeDirectories(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := o.makeDirectories(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return o.chown(path)
}

// makeFile creates an empty file unless the path exists.
func (o owner) makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f.Close()
	return o.chown(path)
}

// checkMountPoint returns an error if a path cannot be a new mount point to which the owner has
// access.
func (o owner) checkMountPoint(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not absolute", path)
	}
	for _, dir := range []string{"/dev", "/nix", "/proc", "/run", "/sys", workDir} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return fmt.Errorf("%s is used by the guest", dir)
		}
	}
	for dir := path; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is not a directory in the guest", dir)
		}
		if dir == path {
			if empty, err := isEmpty(dir); err != nil || !empty {
				return fmt.Errorf("%s is not empty in the guest", dir)
			}
			continue
		}
		if st := info.Sys().(*syscall.Stat_t); info.Mode()&0o001 == 0 && int(st.Uid) != o.uid { // such as /root
			if err := os.Chmod(dir, info.Mode().Perm()|0o001); err != nil {
				return err
			}
		}
	}
	return nil
}
