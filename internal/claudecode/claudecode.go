// Package claudecode keeps a version of Claude Code that VMs use instead of the one in the installed
// guest. Each version is a directory; a link selects one.
package claudecode

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	selected    = "current" // the link
	programFile = "claude"
	newPrefix   = ".new-"
	// packageName is followed by npm's name of the architecture. These packages have a program for
	// glibc, which includes its JavaScript runtime.
	packageName = "@anthropic-ai/claude-code-linux-"
)

// architectures are npm's names of values of GOARCH.
var architectures = map[string]string{"amd64": "x64", "arm64": "arm64"}

// version matches a version and a tag of npm, such as latest.
var version = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+-]*$`)

// release matches a version only, so that it is not the name of the link.
var release = regexp.MustCompile(`^[0-9][0-9A-Za-z.+-]*$`)

// IsVersion reports whether text can be a version, or a tag of npm.
func IsVersion(text string) bool { return version.MatchString(text) }

// Program is a version of Claude Code.
type Program struct {
	Version string
	Path    string
}

// Selected returns what VMs use that start from now on, of the versions in a directory. It is nil if that
// is the guest's own.
func Selected(dir string) (*Program, error) {
	name, err := os.Readlink(filepath.Join(dir, selected))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !release.MatchString(name) {
		err = fmt.Errorf("%s: not a link to a version", filepath.Join(dir, selected))
	}
	if err != nil {
		return nil, err
	}
	p := &Program{Version: name, Path: filepath.Join(dir, name, programFile)}
	info, err := os.Stat(p.Path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", p.Path)
	}
	return p, err
}

// Older reports whether a version is older than another one.
func Older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		if c := cmp.Or(cmp.Compare(len(x[i]), len(y[i])), cmp.Compare(x[i], y[i])); c != 0 {
			return c < 0
		}
	}
	return len(x) < len(y)
}

// Deselect makes VMs use the guest's own version again. It removes the versions that are not used. It
// reports whether another one was selected.
func Deselect(ctx context.Context, dir string, used func(path string) bool) (bool, error) {
	unlock, err := lock(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	err = os.Remove(filepath.Join(dir, selected))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return err == nil, clean(dir, "", used)
}

// Update fetches a version, or what a tag of npm stands for, and selects it. The other versions are
// removed, except those that are used. npm is the path of npm(1).
func Update(ctx context.Context, npm, dir, wanted string, used func(path string) bool) (Program, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Program{}, err
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return Program{}, err
	}
	defer unlock()
	if err := clean(dir, selectedName(dir), used); err != nil { // of an update that was killed
		return Program{}, err
	}
	temporary, err := os.MkdirTemp(dir, newPrefix)
	if err != nil {
		return Program{}, err
	}
	defer os.RemoveAll(temporary)
	found, archive, err := fetch(ctx, npm, temporary, wanted)
	if err != nil {
		return Program{}, err
	}
	if err := install(archive, temporary, dir, found); err != nil {
		return Program{}, fmt.Errorf("install Claude Code %s: %w", found, err)
	}
	return Program{Version: found, Path: filepath.Join(dir, found, programFile)}, clean(dir, found, used)
}

// install unpacks a version, unless it is there and complete, and selects it. VMs may start meanwhile.
func install(archive, temporary, dir, version string) error {
	if _, err := os.Stat(filepath.Join(dir, version, programFile)); err != nil {
		if err := unpack(archive, filepath.Join(temporary, version)); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(dir, version)); err != nil { // damaged
			return err
		}
		if err := os.Rename(filepath.Join(temporary, version), filepath.Join(dir, version)); err != nil {
			return err
		}
	}
	link := filepath.Join(temporary, selected)
	if err := os.Symlink(version, link); err != nil {
		return err
	}
	return os.Rename(link, filepath.Join(dir, selected))
}

// selectedName returns the name of the selected version; empty if there is none.
func selectedName(dir string) string {
	name, _ := os.Readlink(filepath.Join(dir, selected))
	return name
}

// lock waits for another update.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		}
	}
}

// clean removes all versions but one and those that are used.
func clean(dir, keep string, used func(path string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() && e.Name() != keep && !used(filepath.Join(path, programFile)) {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// fetch fetches the package of a version into a directory with npm, which checks it, and uses the user's
// registry and proxy. It returns the version and the path of the archive.
func fetch(ctx context.Context, npm, dir, wanted string) (found, archive string, err error) {
	arch, known := architectures[runtime.GOARCH]
	if !known {
		return "", "", fmt.Errorf("there is no Claude Code for %s", runtime.GOARCH)
	}
	cmd := exec.CommandContext(ctx, npm, "pack", "--json", "--silent", "--cache", filepath.Join(dir, "cache"), packageName+arch+"@"+wanted)
	cmd.Dir = dir // npm obeys .npmrc and package.json in its directory and above, for example in one that a guest can change
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var failed struct{ Error struct{ Summary string } }
	if json.Unmarshal(out, &failed) == nil && failed.Error.Summary != "" {
		return "", "", fmt.Errorf("npm: %s", strings.TrimSuffix(failed.Error.Summary, "."))
	}
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return "", "", fmt.Errorf("npm: %s", cmp.Or(first, err.Error()))
	}
	var packed []struct{ Version, Filename string }
	if err := json.Unmarshal(out, &packed); err != nil {
		return "", "", fmt.Errorf("npm: %w", err)
	}
	if len(packed) != 1 || !release.MatchString(packed[0].Version) || packed[0].Filename != filepath.Base(packed[0].Filename) {
		return "", "", fmt.Errorf("npm: unexpected output: %.200q", out)
	}
	return packed[0].Version, filepath.Join(dir, packed[0].Filename), nil
}

// unpack writes the program of a package, and its licence, to a new directory.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch name := strings.TrimPrefix(h.Name, "package/"); name {
		case programFile:
			err = write(filepath.Join(dir, name), 0o755, in)
		case "LICENSE.md":
			err = write(filepath.Join(dir, name), 0o644, in)
		}
		if err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, programFile)); err != nil {
		return fmt.Errorf("the package has no program %s", programFile)
	}
	return nil
}

func write(path string, mode fs.FileMode, in io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	return errors.Join(err, f.Close())
}
