package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"golang.org/x/sys/unix"
)

// This file looks at the machine itself.

// programTimeout bounds a program that is asked for its version.
const programTimeout = 2 * time.Second

// programVersion is what a program says after --version, in its first line.
func programVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = programTimeout / 4 // its children may hold the pipe
	text, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s --version does not come to an end", path)
	}
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line), nil
}

var number = regexp.MustCompile(`\d+(\.\d+)+`)

// checkVersion wants a program at least that new.
func checkVersion(ctx context.Context, path, least string, p pack) (string, error) {
	text, err := programVersion(ctx, path)
	if err != nil {
		return "", failure.New(failure.HostUnable, p.install(), "%w", err)
	}
	found := number.FindString(text)
	if found == "" {
		return "", warn(p.install(), "%s does not say its version, but %q", path, text)
	}
	if older(found, least) {
		return "", failure.New(failure.HostUnable, "a newer distribution, or "+p.what+" from its sources", "%s is version %s, older than %s", path, found, least)
	}
	return found + ", " + path, nil
}

// older compares versions, numbers between dots.
func older(a, b string) bool {
	numbers := func(text string) (all []int) {
		for part := range strings.SplitSeq(text, ".") {
			n, _ := strconv.Atoi(part)
			all = append(all, n)
		}
		return all
	}
	return slices.Compare(numbers(a), numbers(b)) < 0
}

// The machine's i8042=off is new in QEMU 7.1, the --translate-uid= that the share
// needs in virtiofsd 1.13.
const (
	leastQEMU      = "7.1"
	leastVirtiofsd = "1.13"
)

func checkQEMU(ctx context.Context, h *host) (string, error) {
	path, err := findQEMU(h.qemu)
	if err != nil {
		return "", err
	}
	return checkVersion(ctx, path, leastQEMU, qemuPackage)
}

func checkVirtiofsd(ctx context.Context, h *host) (string, error) {
	path, err := findShare(h.virtiofsd)
	if err != nil {
		return "", err
	}
	return checkVersion(ctx, path, leastVirtiofsd, virtiofsdPackage)
}

// maxAge is from when on a bundle is old: Claude Code in it does not update itself.
const maxAge = 90 * 24 * time.Hour

func checkBundle(_ context.Context, h *host) (string, error) {
	if h.guest == "" {
		return "", errors.New("the units, which say where it is, are not to be found")
	}
	if err := checkGuest(h.guest); err != nil {
		return "", err
	}
	env, err := guestEnvironment(h.guest)
	if err != nil {
		return "", err
	}
	fact := fmt.Sprintf("%s in %s", env["GUEST_VERSION"], h.guest)
	info, err := os.Stat(filepath.Join(h.guest, "guest.env"))
	if err != nil || info.ModTime().Year() < 2000 { // as in Nix's store
		return fact, err
	}
	built := info.ModTime()
	if age := time.Since(built); age > maxAge {
		return "", warn("guest/debian/update-claude && "+makeGuest, "%s was built %s, and Claude Code in it is no newer", fact, built.Format(time.DateOnly))
	}
	return fact + ", built " + built.Format(time.DateOnly), nil
}

func checkKVM(context.Context, *host) (string, error) {
	err := kvmUsable()
	if err == nil {
		return "/dev/kvm", nil
	}
	mend := onNixOS(`users.users.NAME.extraGroups = [ "kvm" ];`, "sudo usermod -aG kvm $USER, then log in again")
	if errors.Is(err, os.ErrNotExist) {
		mend = "enable virtualisation in the firmware, or nested virtualisation for a VM; modprobe kvm_intel or kvm_amd"
	}
	return "", warn(mend, "%w: the VM is emulated, several times slower", err)
}

func checkLinger(_ context.Context, h *host) (string, error) {
	name := h.paths.User
	if name == "" {
		return "", warn("", "unknown, since this user has no name")
	}
	_, err := os.Stat(filepath.Join("/var/lib/systemd/linger", name))
	if err == nil {
		return "on: VMs outlive your logout", nil
	}
	return "", warn(onNixOS("users.users.NAME.linger = true;", "loginctl enable-linger"), "off: VMs end when you log out")
}

const (
	// What a few starts need, arguments and settings included.
	leastRuntimeBytes = 16 << 20
	leastRuntimeFiles = 1000
)

func checkRuntime(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(h.paths.Runtime, &fs); err != nil {
		return "", fmt.Errorf("%s: %w", h.paths.Runtime, err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	fact := fmt.Sprintf("%s and %d files free in %s", size.Format(free), fs.Ffree, h.paths.Runtime)
	if free < leastRuntimeBytes || fs.Files > 0 && fs.Ffree < leastRuntimeFiles {
		return "", warn("du -a --inodes -h "+failure.Command(h.paths.Runtime)+" | sort -h | tail", "only %s", fact)
	}
	return fact, nil
}

// checkMemory holds what VMs may take against what there is. The kernel gives it
// to them as they use it.
func checkMemory(ctx context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	total, err := memoryInfo("MemTotal")
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
	fact := fmt.Sprintf("%s; VMs that run or have a file take up to %s, another one %s", size.Format(total), size.Format(sum), size.Format(another))
	if max(sum, another) > total {
		return "", warn("claude-vm-ctl edit --defaults, and set Memory=", "%s", fact)
	}
	return fact, nil
}

// runningMemory gives the memory of the VMs that run, by directory, in bytes.
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
		env, err := h.manager.Environment(ctx, unit)
		if err != nil {
			return nil, err
		}
		found[directoryOf(unit)], _ = size.Parse(env["MEMORY"]) // 0 for what QEMU rejects
	}
	return found, nil
}

// memoryInfo is a line of /proc/meminfo, in bytes.
func memoryInfo(key string) (uint64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var n uint64
		if _, err := fmt.Sscanf(line, key+": %d kB", &n); err == nil {
			return n << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s in /proc/meminfo", key)
}

// checkClock asks the kernel, as timedatectl does: each guest starts with this
// clock, and no certificate is valid for one that is wrong.
func checkClock(context.Context, *host) (string, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return "", warn("", "adjtimex: %w", err)
	}
	if t.Maxerror >= 16_000_000 { // µs; see ntp_synced() of systemd
		return "", warn(onNixOS("services.timesyncd.enable = true;", "sudo timedatectl set-ntp true"), "not synchronised, and guests take it over")
	}
	return "synchronised", nil
}
