package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/sys/unix"
)

const (
	// runtimeDir is the RuntimeDirectory= of the agent's unit.
	runtimeDir = "/run/claude-vm"
	// userConfigDir has what the user has written for Claude Code. The home has links to it.
	userConfigDir = runtimeDir + "/claude"
	// gitConfigFile has the user's identity. /etc/gitconfig includes it.
	gitConfigFile = runtimeDir + "/gitconfig"
)

// mountShare mounts the directories and files of the host's virtiofs share at their paths
// in the guest: the work directory, its git directory if it is elsewhere, the home directory if
// it is kept, and b.Mounts.
func mountShare(r *root, b contract.Begin) error {
	owner, err := lookupOwner(contract.UserClaude)
	if err != nil {
		return err
	}
	work := workPath(b.Directory, owner)
	if b.GitDirectory != "" {
		if err := owner.checkMountPoint(b.GitDirectory); err != nil {
			log.Printf("git does not work: %v", err)
			b.GitDirectory = ""
		}
	}
	mounts := allMounts(b, work, owner.home)
	if b.ClaudeCode {
		path, err := r.claudePath()
		if err != nil {
			return err
		}
		mounts = append(mounts, contract.Mount{Name: contract.ShareClaudeCode, Path: path})
	}
	trees, err := openTrees(r, mounts, owner.home)
	if err != nil {
		return err
	}
	for i, tree := range trees {
		err := tree.attach(mounts[i].Path, owner)
		if mounts[i].Name == contract.ShareGit && err != nil {
			log.Printf("git does not work: mount %s: %v", mounts[i].Path, err)
		} else if err != nil {
			return fmt.Errorf("mount %s: %w", mounts[i].Path, err)
		}
		unix.Close(tree.fd)
	}
	if work != workDir {
		return os.Symlink(work, workDir)
	}
	return nil
}

// allMounts returns the mounts for b, parent directories first. The work directory is mounted
// at work.
func allMounts(b contract.Begin, work, home string) []contract.Mount {
	mounts := []contract.Mount{{Name: contract.ShareWork, Path: work}}
	if b.Home {
		mounts = append(mounts, contract.Mount{Name: contract.ShareHome, Path: home})
	}
	if b.GitDirectory != "" {
		mounts = append(mounts, contract.Mount{Name: contract.ShareGit, Path: b.GitDirectory})
	}
	if b.UserConfig {
		mounts = append(mounts, contract.Mount{Name: contract.ShareClaude, Path: userConfigDir})
	}
	for _, m := range b.Mounts {
		if below, found := strings.CutPrefix(m.Path, workDir+"/"); found { // workDir is not a link yet
			m.Path = filepath.Join(work, below)
		}
		mounts = append(mounts, m)
	}
	slices.SortStableFunc(mounts, func(a, b contract.Mount) int { return strings.Compare(a.Path, b.Path) })
	return mounts
}

// workPath returns where the work directory is mounted: at its path on the host, so that paths
// that git and other programs write are right on both sides, or at workDir if that path is used
// otherwise in the guest.
func workPath(host string, o owner) string {
	err := o.checkMountPoint(host)
	if err == nil {
		return host
	}
	log.Printf("the work directory is at %s only: %v", workDir, err)
	return workDir
}

// tree is a detached mount of a directory or file of the share, see open_tree(2).
type tree struct {
	fd  int
	dir bool // false for a file
}

// openTrees returns a detached mount for each element of mounts, in this order. It mounts
// the share in a private mount namespace, on a separate thread, and clones the trees from
// there. Bind mounts from a visible mount point would not do: when that mount point is
// unmounted, what is mounted inside the trees is unmounted, too.
func openTrees(r *root, mounts []contract.Mount, home string) (trees []tree, err error) {
	err = r.thread(func() (err error) {
		trees, err = openTreesHere(r, mounts, home)
		return err
	})
	return trees, err
}

// openTreesHere does the work of openTrees. It changes the mount namespace of its thread.
func openTreesHere(r *root, mounts []contract.Mount, home string) ([]tree, error) {
	// Not runtimeDir: in an image, fillHome uses a program in it.
	const dir = runtimeDir + "/share"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.Remove(dir)
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	if err := unix.Mount(contract.ShareTag, dir, "virtiofs", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return nil, fmt.Errorf("mount the host's share: %w", err)
	}
	// The namespace, with its mount, disappears with the thread. But Go never terminates
	// the main thread, and this may be it.
	defer unix.Unmount(dir, unix.MNT_DETACH)
	// The trees are submounts, which have the writeback threads of the share's root. This descriptor, which stays
	// open, keeps that mounted. Otherwise, a program that changes files with mmap(2) would hang in the kernel.
	if _, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	var trees []tree
	for _, m := range mounts {
		path := filepath.Join(dir, m.Name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("mount %s: not shared by the host: %w", m.Path, err)
		}
		if m.Name == contract.ShareHome {
			if err := fillHome(r.program("cp"), path, home); err != nil { // for example, the disk is full
				log.Printf("fill %s: %v", home, err)
			}
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
		}
		trees = append(trees, tree{fd: fd, dir: info.IsDir()})
	}
	return trees, nil
}

// attach creates target and mounts the tree on it.
func (t tree) attach(target string, o owner) error {
	err := o.makeDirectories(filepath.Dir(target))
	if err == nil && t.dir {
		err = o.makeDirectories(target)
	} else if err == nil {
		err = o.makeFile(target)
	}
	if err != nil {
		return err
	}
	return unix.MoveMount(t.fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
}

// fillHome copies, with cp(1), the image's home, or /etc/skel, into an empty persistent home. It need
// not change owners: files that root creates on the share belong to the user. A file that
// exists was copied by another VM with the same home, which has started at the same time.
func fillHome(cp, persistent, home string) error {
	if empty, err := isEmpty(persistent); !empty || err != nil {
		return err
	}
	for _, from := range []string{home, "/etc/skel"} {
		if empty, err := isEmpty(from); !empty && err == nil {
			if out, err := exec.Command(cp, "-RPn", "--", from+"/.", persistent).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
	}
	return nil
}

func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	return len(entries) == 0, err
}
