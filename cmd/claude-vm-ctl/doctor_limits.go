package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
)

// cgroups is where cgroup v2 is mounted.
const cgroups = "/sys/fs/cgroup"

// checkLimits checks that the user manager can limit what VMs use. It ignores MemoryMax=, TasksMax= and
// CPUWeight= in the units if it has no controller for them.
func checkLimits(_ context.Context, h *host) (string, error) {
	if h.manager == nil {
		return "", errors.New("unknown without the user manager")
	}
	group, err := h.manager.ControlGroup()
	if err != nil {
		return "", err
	}
	return limitsOf(controllers(cgroups), controllers(filepath.Join(cgroups, group)))
}

// controllers returns the words of cgroup.controllers in a directory; none without cgroup v2.
func controllers(dir string) []string {
	text, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	return strings.Fields(string(text))
}

// limitsOf returns what is limited, with the controllers of the machine and of the user manager.
func limitsOf(machine, manager []string) (string, error) {
	var missing []string
	possible := true
	for _, name := range []string{"memory", "pids", "cpu"} {
		if !slices.Contains(manager, name) {
			missing = append(missing, name)
			possible = possible && slices.Contains(machine, name)
		}
	}
	if missing == nil {
		return "the user manager has the controllers " + strings.Join(manager, " "), nil
	}
	fix := preflight.OnNixOS(`systemd.services."user@".serviceConfig.Delegate = "memory pids cpu";`,
		"sudo systemctl edit user@.service, and set Delegate=memory pids cpu in [Service], then log in again")
	if !possible {
		fix = "add systemd.unified_cgroup_hierarchy=1 to the kernel command line, and reboot"
	}
	return "", preflight.Warn(fix, "a VM can use up the machine: the user manager lacks the cgroup controllers %s", strings.Join(missing, " "))
}
