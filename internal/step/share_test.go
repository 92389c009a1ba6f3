package step

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestParentKiller runs itself as the child of a process that executes another program, as virtiofsd does.
func TestParentKiller(t *testing.T) {
	if os.Getenv("KILL_PARENT") != "" {
		kill, err := parentKiller()
		if err == nil {
			err = kill()
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
	cmd := exec.Command("sh", "-c", `"$0" -test.run='^TestParentKiller$' & exec sleep 100`, os.Args[0])
	cmd.Env = append(os.Environ(), "KILL_PARENT=1")
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the parent: %v", err)
	}
}
