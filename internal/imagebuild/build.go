// Package imagebuild builds the guests of package image from container images and from Debian
// packages, with skopeo, mmdebstrap and mkfs.erofs, without privileges.
package imagebuild

import (
	"bufio"
	"context"
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

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"golang.org/x/sys/unix"
)

// Recipe describes a guest to build.
type Recipe struct {
	Directory string // of the user's guests
	Name      string
	From      string // as the user has named it
	// Reference is an argument of skopeo; see the function Reference. If it is empty, the root
	// directory is a Debian system with Packages.
	Reference string
	Packages  []string
	// Paths of programs. Only one of Skopeo and Mmdebstrap is used.
	Skopeo, Mmdebstrap, Mkfs string
	Progress                 func(text string)
}

// Build makes a guest, in place of an earlier one of the same name. An interrupted build leaves
// nothing, or what the next one removes.
func (r Recipe) Build(ctx context.Context) (*image.Image, error) {
	if err := os.MkdirAll(r.Directory, 0o700); err != nil {
		return nil, failure.Plain(err)
	}
	removeStale(r.Directory)
	dir, err := os.MkdirTemp(r.Directory, image.Temporary)
	if err != nil {
		return nil, failure.Plain(err)
	}
	defer os.RemoveAll(dir)
	// The lock shows that the directory is in use, until this process ends.
	lock, err := os.Open(dir)
	if err != nil {
		return nil, failure.Plain(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, os.NewSyscallError("flock", err)
	}
	i, err := r.build(ctx, dir)
	if err != nil {
		return nil, r.explain(err)
	}
	return i, nil
}

// explain replaces the errors of a full disk, which each program reports in its own way.
func (r Recipe) explain(err error) error {
	if errors.Is(err, unix.ENOSPC) || strings.Contains(strings.ToLower(err.Error()), "no space left") {
		return noRoom(r.Directory)
	}
	return failure.Plain(err)
}

func noRoom(dir string) error {
	return failure.New(failure.Failed, "claude-vm-ctl guest list; claude-vm-ctl guest rm NAME", "not enough room in %s", dir)
}

// removeStale removes the directories of builds that were killed.
func removeStale(guests string) {
	dirs, _ := filepath.Glob(filepath.Join(guests, image.Temporary+"*"))
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		f.Close()
	}
}

func (r Recipe) build(ctx context.Context, dir string) (*image.Image, error) {
	layers := filepath.Join(dir, "layers")
	var s *source
	var err error
	if r.Reference != "" {
		r.Progress("Copying " + r.From)
		s, err = fetch(ctx, r.Skopeo, r.Reference, dir, layers)
	} else {
		r.Progress("Installing Debian packages")
		s, err = r.install(ctx, layers)
	}
	if err != nil {
		return nil, err
	}
	made := filepath.Join(dir, "new")
	if err := os.Mkdir(made, 0o755); err != nil {
		return nil, err
	}
	r.Progress("Making the file system")
	i := image.Image{
		Name: r.Name, Directory: made, From: r.From, Digest: s.digest, Built: time.Now().UTC().Truncate(time.Second),
		Architecture: s.architecture, Environment: s.environment,
	}
	if err := r.makeDisk(ctx, s, dir, i.File()); err != nil {
		return nil, err
	}
	if err := i.Write(); err != nil {
		return nil, err
	}
	if err := replaceDirectory(made, filepath.Join(r.Directory, r.Name)); err != nil {
		return nil, err
	}
	i, err = image.Read(filepath.Join(r.Directory, r.Name))
	return &i, err
}

// replaceDirectory renames a directory. One that has the new name gets the old name. A VM that
// uses it has its file open and keeps it.
func replaceDirectory(from, to string) error {
	for {
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
		if errors.Is(err, unix.ENOENT) {
			err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EEXIST): // by another build of the same name, just now
			continue
		case errors.Is(err, unix.EINVAL): // the file system cannot exchange
			if err := os.Rename(to, from+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return os.Rename(from, to)
		}
		return &os.PathError{Op: "rename", Path: to, Err: err}
	}
}

// makeDisk merges the layers to a file system. mkfs.erofs reads them as a tar archive, which
// keeps the owners of files without any privileges. It is not compressed, as the guest's own is
// not: the host's page cache has it once for all VMs.
func (r Recipe) makeDisk(ctx context.Context, s *source, dir, file string) error {
	t := newTree()
	for i := range s.layers {
		layer, err := s.open(i)
		if err != nil {
			return err
		}
		err = t.add(i, layer)
		layer.Close()
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("layer %d of the image: %w", i+1, err)
		}
	}
	if err := checkRoom(dir, t.size()); err != nil {
		return err
	}
	archive, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(in, 1<<20)
		err := t.write(out, len(s.layers), s.open)
		if err == nil {
			err = out.Flush()
		}
		in.CloseWithError(err)
		written <- err
	}()
	err := runTool(ctx, dir, archive, r.Mkfs, "--quiet", "--tar=f", file)
	archive.CloseWithError(errStopped)
	if writeErr := <-written; writeErr != nil && !errors.Is(writeErr, errStopped) {
		return fmt.Errorf("the layers of the image: %w", writeErr)
	}
	return err
}

var errStopped = errors.New("mkfs.erofs stopped")

// checkRoom checks that the contents fit twice, as mkfs.erofs needs.
func checkRoom(dir string, contents int64) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return err
	}
	if free, need := stat.Bavail*uint64(stat.Bsize), 2*uint64(contents); free < need {
		return failure.New(failure.Failed, "claude-vm-ctl guest list; claude-vm-ctl guest rm NAME",
			"not enough room in %s: the image needs %s, %s are free", filepath.Dir(dir), size.Format(need), size.Format(free))
	}
	return nil
}

// open opens a layer, which is decompressed.
func (s *source) open(layer int) (io.ReadCloser, error) {
	f, err := os.Open(s.layers[layer])
	if err != nil {
		return nil, err
	}
	r, err := decompress(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}

// Suite is the release of Debian of guests with packages.
const Suite = "trixie"

// basePackages are what Claude Code uses, beside the packages that are asked for.
var basePackages = []string{"ca-certificates", "git", "less", "procps"}

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]+$`)

// CheckPackages returns an error if a name cannot be the name of a Debian package.
func CheckPackages(names []string) error {
	for _, name := range names {
		if !packageName.MatchString(name) {
			return fmt.Errorf("%q is not the name of a Debian package", name)
		}
	}
	return nil
}

// install makes a Debian system as the only layer of an image.
func (r Recipe) install(ctx context.Context, dir string) (*source, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	layer := filepath.Join(dir, "root.tar")
	f, err := os.Create(layer)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mode := "unshare"
	if os.Getuid() == 0 {
		mode = "root"
	}
	cmd := toolCommand(ctx, r.Mmdebstrap, "--mode="+mode, "--variant=minbase", "--format=tar",
		`--aptopt=APT::Install-Recommends "false"`, "--include="+strings.Join(append(basePackages, r.Packages...), ","), Suite, "-")
	cmd.Stdout = f
	text, err := stderrOf(cmd)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("mmdebstrap: %s", text)
	}
	return &source{layers: []string{layer}, architecture: runtime.GOARCH}, nil
}

// stderrOf runs mmdebstrap and returns its first error.
func stderrOf(cmd *exec.Cmd) (string, error) {
	var text strings.Builder
	cmd.Stderr = &text
	err := cmd.Run()
	for line := range strings.Lines(text.String()) {
		if message, found := strings.CutPrefix(line, "E: "); found {
			return failure.OneLine(message), err
		}
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	return failure.OneLine(lines[len(lines)-1]), err
}
