package preflight

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
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"golang.org/x/sys/unix"
)

// Warning is the result of a check that does not keep a VM from starting.
type Warning struct{ error }

func (w Warning) Unwrap() error { return w.error }

// Warn returns a Warning with a hint.
func Warn(hint, format string, args ...any) error {
	return Warning{failure.New(failure.Failed, hint, format, args...)}
}

// IsWarning reports whether err is one.
func IsWarning(err error) bool {
	var w Warning
	return errors.As(err, &w)
}

// programTimeout bounds a program that is asked for its version.
const programTimeout = 2 * time.Second

// ProgramVersion is what a program says after --version, in its first line.
func ProgramVersion(ctx context.Context, path string) (string, error) {
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
func checkVersion(ctx context.Context, path, least string, p Package) (string, error) {
	text, err := ProgramVersion(ctx, path)
	if err != nil {
		return "", failure.New(failure.HostUnable, p.Install(), "%w", err)
	}
	found := number.FindString(text)
	if found == "" {
		return "", Warn(p.Install(), "%s does not say its version, but %q", path, text)
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

// QEMU finds QEMU and returns its version and path.
func QEMU(ctx context.Context, program string) (string, error) {
	path, err := FindQEMU(program)
	if err != nil {
		return "", err
	}
	return checkVersion(ctx, path, leastQEMU, qemuPackage)
}

// Virtiofsd finds virtiofsd and returns its version and path.
func Virtiofsd(ctx context.Context, program string) (string, error) {
	path, err := FindVirtiofsd(program)
	if err != nil {
		return "", err
	}
	return checkVersion(ctx, path, leastVirtiofsd, virtiofsdPackage)
}

// maxAge is from when on a bundle is old: Claude Code in it does not update itself.
const maxAge = 90 * 24 * time.Hour

// BundleAge checks the guest bundle in a directory and returns its version and date.
func BundleAge(dir string) (string, error) {
	if err := Bundle(dir); err != nil {
		return "", err
	}
	env, err := BundleEnvironment(dir)
	if err != nil {
		return "", err
	}
	fact := fmt.Sprintf("%s in %s", env["GUEST_VERSION"], dir)
	info, err := os.Stat(filepath.Join(dir, "guest.env"))
	if err != nil || info.ModTime().Year() < 2000 { // as in Nix's store
		return fact, err
	}
	built := info.ModTime()
	if age := time.Since(built); age > maxAge {
		return "", Warn("guest/debian/update-claude && "+makeGuest, "%s was built %s, and Claude Code in it is no newer", fact, built.Format(time.DateOnly))
	}
	return fact + ", built " + built.Format(time.DateOnly), nil
}

// KVM checks that this user can use hardware virtualisation.
func KVM() (string, error) {
	err := OpenKVM()
	if err == nil {
		return "/dev/kvm", nil
	}
	fix := OnNixOS(`users.users.NAME.extraGroups = [ "kvm" ];`, "sudo usermod -aG kvm $USER, then log in again")
	if errors.Is(err, os.ErrNotExist) {
		fix = "enable virtualisation in the firmware, or nested virtualisation for a VM; modprobe kvm_intel or kvm_amd"
	}
	return "", Warn(fix, "%w: the VM is emulated, several times slower", err)
}

// Linger checks that the user manager outlives the user's logout.
func Linger(name string) (string, error) {
	if name == "" {
		return "", Warn("", "unknown, since this user has no name")
	}
	_, err := os.Stat(filepath.Join("/var/lib/systemd/linger", name))
	if err == nil {
		return "on: VMs outlive your logout", nil
	}
	return "", Warn(OnNixOS("users.users.NAME.linger = true;", "loginctl enable-linger"), "off: VMs end when you log out")
}

const (
	// What a few starts need, arguments and settings included.
	leastRuntimeBytes = 16 << 20
	leastRuntimeFiles = 1000
)

// RuntimeDirectory checks that the runtime directory has room for starts.
func RuntimeDirectory(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	fact := fmt.Sprintf("%s and %d files free in %s", size.Format(free), fs.Ffree, dir)
	if free < leastRuntimeBytes || fs.Files > 0 && fs.Ffree < leastRuntimeFiles {
		return "", Warn("du -a --inodes -h "+failure.Command(dir)+" | sort -h | tail", "only %s", fact)
	}
	return fact, nil
}

// MemoryInfo is a line of /proc/meminfo, in bytes.
func MemoryInfo(key string) (uint64, error) {
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

// Clock asks the kernel, as timedatectl does: each guest starts with this
// clock, and no certificate is valid for one that is wrong.
func Clock() (string, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return "", Warn("", "adjtimex: %w", err)
	}
	if t.Maxerror >= 16_000_000 { // µs; see ntp_synced() of systemd
		return "", Warn(OnNixOS("services.timesyncd.enable = true;", "sudo timedatectl set-ntp true"), "not synchronised, and guests take it over")
	}
	return "synchronised", nil
}

// OpenKVM tries to open /dev/kvm as QEMU does.
func OpenKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w", failure.Plain(err))
	}
	return f.Close()
}
