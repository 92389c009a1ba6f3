package preflight

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// This file checks what claude-vm-ctl guest build needs. VMs start without it.

// oldestMkfs is the first version of mkfs.erofs that reads tar archives reliably.
const oldestMkfs = "1.7.1"

// Skopeo finds skopeo and returns its path.
func Skopeo() (string, error) { return findProgram("skopeo", skopeoPackage) }

// Mmdebstrap finds mmdebstrap and returns its path.
func Mmdebstrap() (string, error) { return findProgram("mmdebstrap", mmdebstrapPackage) }

// NPM finds npm and returns its path.
func NPM() (string, error) { return findProgram("npm", npmPackage) }

// Mkfs finds mkfs.erofs and returns its path.
func Mkfs(ctx context.Context) (string, error) {
	path, err := findProgram("mkfs.erofs", erofsPackage)
	if err != nil {
		return "", err
	}
	if _, err := ProgramVersion(ctx, path); err != nil { // it has no option --version
		return "", failure.New(failure.HostUnable, "upgrade the distribution, or build "+erofsPackage.project+" from source", "%s is older than %s", path, oldestMkfs)
	}
	_, err = checkVersion(ctx, path, oldestMkfs, erofsPackage)
	return path, err
}

func findProgram(name string, p Package) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) { // not in the PATH of some users
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		return "", failure.New(failure.HostUnable, p.Install(), "%s is not installed", name)
	}
	return path, nil
}

// GuestBuild checks that guests can be built from container images.
func GuestBuild(ctx context.Context) (string, error) {
	_, err := Mkfs(ctx)
	if err == nil {
		_, err = Skopeo()
	}
	if err != nil {
		return "", Warn(failure.HintOf(err), "%w; only claude-vm-ctl guest build needs it", err)
	}
	return "possible from container images", nil
}

// BundleSize returns the size of a bundle's root file system and when it was built; the zero time
// if this is unknown.
func BundleSize(dir string) (bytes int64, built time.Time) {
	if info, err := os.Stat(filepath.Join(dir, "root.erofs")); err == nil {
		bytes = info.Size()
	}
	// The Nix store sets times to 1970.
	if info, err := os.Stat(filepath.Join(dir, "guest.env")); err == nil && info.ModTime().Year() >= 2000 {
		built = info.ModTime()
	}
	return bytes, built
}
