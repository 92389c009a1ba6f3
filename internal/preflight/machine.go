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

// Warning is the error of a check that does not prevent VMs from starting.
type Warning struct{ error }

func (w Warning) Unwrap() error { return w.error }

// Warn returns a Warning with a hint.
func Warn(hint, format string, args ...any) error {
	return Warning{failure.New(failure.Failed, hint, format, args...)}
}

// IsWarning reports whether err is or wraps a Warning.
func IsWarning(err error) bool {
	var w Warning
	return errors.As(err, &w)
}

// programTimeout limits the run time of a program with --version.
const programTimeout = 2 * time.Second

// ProgramVersion returns the first line that a program prints with --version.
func ProgramVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = programTimeout / 4 // its children may keep the pipe open
	text, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s --version timed out", path)
	}
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line), nil
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// checkVersion returns the text "VERSION, PATH" for a program, or an error if the version is
// older than oldest. p is the package to install.
func checkVersion(ctx context.Context, path, oldest string, p Package) (string, error) {
	text, err := ProgramVersion(ctx, path)
	if err != nil {
		return "", failure.New(failure.HostUnable, p.Install(), "%w", err)
	}
	found := versionNumber.FindString(text)
	if found == "" {
		return "", Warn(p.Install(), "%s --version prints no version number: %q", path, text)
	}
	if older(found, oldest) {
		return "", failure.New(failure.HostUnable, "upgrade the distribution, or build "+p.project+" from source", "%s is version %s, older than %s", path, found, oldest)
	}
	return found + ", " + path, nil
}

// older reports whether version a is older than b. Versions are numbers separated by dots.
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

// The units need -netdev stream, which is new in QEMU 7.2, and --translate-uid=, which
// is new in virtiofsd 1.13.
const (
	oldestQEMU      = "7.2"
	oldestVirtiofsd = "1.13"
)

// QEMU finds QEMU and returns its version and path.
func QEMU(ctx context.Context, program string) (string, error) {
	path, err := FindQEMU(program)
	if err != nil {
		return "", err
	}
	return checkVersion(ctx, path, oldestQEMU, qemuPackage)
}

// Virtiofsd finds virtiofsd and returns its version and path.
func Virtiofsd(ctx context.Context, program string) (string, error) {
	path, err := FindVirtiofsd(program)
	if err != nil {
		return "", err
	}
	return checkVersion(ctx, path, oldestVirtiofsd, virtiofsdPackage)
}

// maxAge is the age of a bundle from which on BundleAge warns: the Claude Code in a bundle
// does not update itself.
const maxAge = 90 * 24 * time.Hour

// BundleAge checks that the guest bundle in a directory is complete and not older than
// maxAge. It returns a text with its version, path and date.
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
	if err != nil || info.ModTime().Year() < 2000 { // the Nix store sets times to 1970
		return fact, err
	}
	built := info.ModTime()
	if age := time.Since(built); age > maxAge {
		return "", Warn("guest/debian/update-claude && "+makeGuest, "%s was built %s, and its Claude Code is as old", fact, built.Format(time.DateOnly))
	}
	return fact + ", built " + built.Format(time.DateOnly), nil
}

// KVM checks that this user can use hardware virtualization.
func KVM() (string, error) {
	err := OpenKVM()
	if err == nil {
		return "/dev/kvm", nil
	}
	fix := OnNixOS(`users.users.NAME.extraGroups = [ "kvm" ];`, "sudo usermod -aG kvm $USER, then log in again")
	if errors.Is(err, os.ErrNotExist) {
		fix = "enable virtualization in the firmware, or nested virtualization if this is a VM; modprobe kvm_intel or kvm_amd"
	}
	return "", Warn(fix, "%w: VMs are emulated, which is several times slower", err)
}

// Linger checks that the user manager keeps running after logout.
func Linger(name string) (string, error) {
	if name == "" {
		return "", Warn("", "unknown: USER is not set, and the user has no name in the user database")
	}
	_, err := os.Stat(filepath.Join("/var/lib/systemd/linger", name))
	if err == nil {
		return "on: VMs keep running after logout", nil
	}
	return "", Warn(OnNixOS("users.users.NAME.linger = true;", "loginctl enable-linger"), "off: VMs stop at logout")
}

const (
	// A few starts need this, including arguments and settings.
	minRuntimeBytes = 16 << 20
	minRuntimeFiles = 1000
)

// RuntimeDirectory checks that the runtime directory has enough free space and inodes.
func RuntimeDirectory(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	fact := fmt.Sprintf("%s and %d files free in %s", size.Format(free), fs.Ffree, dir)
	if free < minRuntimeBytes || fs.Files > 0 && fs.Ffree < minRuntimeFiles {
		return "", Warn("du -a --inodes -h "+failure.Command(dir)+" | sort -h | tail", "only %s", fact)
	}
	return fact, nil
}

// FreeSpace returns the free space in bytes for a directory, which need not exist.
func FreeSpace(dir string) (uint64, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	if errors.Is(err, unix.ENOENT) && dir != "/" {
		return FreeSpace(filepath.Dir(dir))
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// MemoryInfo returns the value of a line of /proc/meminfo in bytes.
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

// Clock checks that the clock is synchronized, as timedatectl does. Guests start with the
// time of the host, and TLS certificates are not valid if it is wrong.
func Clock() (string, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return "", Warn("", "adjtimex: %w", err)
	}
	if t.Maxerror >= 16_000_000 { // µs; see ntp_synced() of systemd
		return "", Warn(OnNixOS("services.timesyncd.enable = true;", "sudo timedatectl set-ntp true"), "not synchronized; guests start with the same time")
	}
	return "synchronized", nil
}

// OpenKVM opens and closes /dev/kvm, as QEMU opens it, and returns the error.
func OpenKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w", failure.Plain(err))
	}
	return f.Close()
}
