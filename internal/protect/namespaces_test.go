package protect

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespaces returns this program as a command that runs in a user and a mount namespace, with a
// variable for TestMain.
func inNamespaces(t *testing.T, variable string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}

// protectTree protects and hides the paths in text in a directory, in the namespaces, as the share step
// does. It returns what Watch needs.
func protectTree(dir, text string) (scratch string, mounts []Mount, err error) {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", nil, fmt.Errorf("mount: %w", err)
	}
	fd, err := Open(dir)
	if err != nil {
		return "", nil, err
	}
	found, err := Look([]Root{{dir, fd}}, wishes(dir, text))
	if err != nil {
		return "", nil, err
	}
	scratch = filepath.Join(filepath.Dir(dir), "scratch")
	return scratch, found.Mounts[0], errors.Join(os.Mkdir(scratch, 0o700), Apply(dir, scratch, found.Mounts[0]))
}
