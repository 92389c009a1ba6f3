package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
)

func checkBundle(_ context.Context, h *host) (string, error) {
	if h.guest == "" {
		return "", errors.New("unknown, because the units, which define its path, were not found")
	}
	return preflight.BundleAge(h.guest)
}

func checkRuntime(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	return preflight.RuntimeDirectory(h.paths.Runtime)
}

// checkNetwork connects to the API, as the gateway of a VM does. VMs start without it.
func checkNetwork(ctx context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	program := filepath.Join(filepath.Dir(self), "claude-vm-gateway")
	d := h.files.Defaults
	out, err := exec.CommandContext(ctx, program, "--check", os.Getenv("ANTHROPIC_BASE_URL"), d.Proxy, d.ExtraCA).Output()
	text, hint, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	var exit *exec.ExitError
	switch {
	case err == nil:
		return text, nil
	case errors.As(err, &exit) && text != "":
		return "", preflight.Warn(hint, "%s", text)
	case errors.Is(err, os.ErrNotExist):
		return "", failure.New(failure.Failed, "make install && systemctl --user daemon-reload", "claude-vm-gateway is not installed in %s", filepath.Dir(program))
	case ctx.Err() != nil:
		return "", preflight.Warn("resolvectl query api.anthropic.com", "the API of Claude Code does not answer")
	}
	return "", err
}

// checkFileLimit checks how many files a virtiofsd can have open: one for each file that the
// guest has in its cache.
func checkFileLimit(ctx context.Context, h *host) (string, error) {
	if h.manager == nil {
		return "", errors.New("unknown without the user manager")
	}
	limit, err := h.manager.FileLimit(ctx)
	if err != nil {
		return "", err
	}
	fact := fmt.Sprintf("up to %d for each VM", min(limit, wantedFiles))
	if limit < wantedFiles {
		return "", preflight.Warn(preflight.OnNixOS(`systemd.services."user@".serviceConfig.LimitNOFILE = 524288;`,
			"sudo systemctl edit user@.service, and set LimitNOFILE=524288 in [Service], then log in again"),
			"%s, so guests drop their caches more often", fact)
	}
	return fact, nil
}

// wantedFiles is LimitNOFILE= in claude-vm-virtiofsd@.service.
const wantedFiles = 524288

// checkMemory compares the memory that VMs may use with that of the machine. It is only a
// warning: the kernel allocates memory when a VM uses it.
func checkMemory(ctx context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	total, err := preflight.MemoryInfo("MemTotal")
	if err != nil {
		return "", err
	}
	running, err := h.runningMemory(ctx)
	if err != nil {
		return "", err
	}
	all := running
	for _, v := range h.files.VMs {
		all[v.WorkDirectory] = max(all[v.WorkDirectory], v.Memory)
	}
	sum, another := uint64(0), h.files.Defaults.Memory
	for _, n := range all {
		sum += n
	}
	fact := fmt.Sprintf("%s; running and configured VMs use up to %s, any other VM up to %s", size.Format(total), size.Format(sum), size.Format(another))
	if max(sum, another) > total {
		return "", preflight.Warn("claude-vm-ctl edit --defaults, and set Memory=", "%s", fact)
	}
	return fact, nil
}

// checkScratch compares the size of a scratch disk with the free space. It is only a warning: a
// disk gets as much as is free.
func checkScratch(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	wanted := h.files.Defaults.Scratch
	if wanted == 0 {
		return "none: Scratch=no", nil
	}
	free, err := preflight.FreeSpace(h.paths.Cache)
	if err != nil {
		return "", err
	}
	fact := fmt.Sprintf("%s free in %s, up to %s for each VM", size.Format(free), h.paths.Cache, size.Format(2*wanted)) // with /scratch
	if free < wanted {
		return "", preflight.Warn("claude-vm-ctl edit --defaults, and set Scratch=", "%s", fact)
	}
	return fact, nil
}

// checkSnapshots reports the size of the snapshots, and whether there is room for another.
func checkSnapshots(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	store := h.paths.Snapshots()
	found := store.List()
	fact := fmt.Sprintf("%d, %s in %s", len(found), size.Format(store.Disk()), store)
	free, err := preflight.FreeSpace(string(store))
	switch {
	case err != nil:
		return "", err
	case !h.files.Defaults.Resume:
		return fact + ", not used: Resume=no", nil
	case free < snapshot.MinFree:
		return "", preflight.Warn("claude-vm-ctl snapshot rm --all", "%s; only %s are free, so no more are made and VMs boot", fact, size.Format(free))
	}
	return fact, nil
}

// runningMemory returns the memory setting of each running VM in bytes, by work directory.
func (h *host) runningMemory(ctx context.Context) (map[string]uint64, error) {
	found := map[string]uint64{}
	if h.manager == nil {
		return found, nil
	}
	units, err := h.manager.Active(ctx, instance.VM.Unit("*"))
	if err != nil {
		return nil, err
	}
	for _, unit := range units {
		if record, err := h.paths.ReadRecord(instance.UnitID(unit)); err == nil {
			found[directoryOf(unit)] = record.Settings.Memory
		}
	}
	return found, nil
}
