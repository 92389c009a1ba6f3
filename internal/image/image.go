// Package image makes guests from container images. Such a guest is a directory with
// image.erofs, the root directory of the image, and image.json. The VM itself boots the
// installed guest, whose agent runs Claude, shells and commands in the image.
package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// Files of a guest.
const (
	diskFile = "image.erofs"
	infoFile = "image.json"
)

// Image is what is known of a guest. Scripts depend on the JSON names.
type Image struct {
	Name string `json:"name"`
	// Directory has the files. It is not in image.json.
	Directory string `json:"directory,omitempty"`
	// From is what the image was made from, as the user has named it.
	From         string    `json:"from"`
	Digest       string    `json:"digest,omitempty"` // of its configuration, the image ID; empty for Debian packages
	Built        time.Time `json:"built,omitzero"`
	Architecture string    `json:"architecture"` // a value of GOARCH
	// Environment are the variables of the image, NAME=VALUE.
	Environment []string `json:"environment,omitempty"`
	Size        int64    `json:"size,omitempty"` // of image.erofs in bytes
}

// File returns the path of the file system.
func (i *Image) File() string { return filepath.Join(i.Directory, diskFile) }

const maxName = 64

// CheckName returns an error if name cannot be the name of a guest, which is a directory.
func CheckName(name string) error {
	other := func(r rune) bool {
		return !strings.ContainsRune("._-", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if name == "" || len(name) > maxName || strings.ContainsAny(name[:1], "._-") || strings.IndexFunc(name, other) >= 0 {
		return fmt.Errorf("not a path or a name of up to %d letters, digits, dots, - and _ that starts with a letter or digit", maxName)
	}
	return nil
}

// Find returns the first guest of a name in directories.
func Find(directories []string, name string) (*Image, error) {
	for _, dir := range directories {
		i, err := Read(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err == nil && i.Architecture != runtime.GOARCH {
			err = fmt.Errorf("the image is for %s, this machine is %s", i.Architecture, runtime.GOARCH)
		}
		if err != nil {
			return nil, failure.New(failure.HostUnable, rebuild(name, i.From), "the guest %s: %w", name, failure.Plain(err))
		}
		return &i, nil
	}
	return nil, failure.New(failure.HostUnable, rebuild(name, ""), "there is no guest %s", name)
}

// rebuild returns the command that builds a guest.
func rebuild(name, from string) string {
	if from == "" {
		from = "IMAGE"
	}
	return failure.Command("claude-vm-ctl", "guest", "build", "--name", name, "--from", from)
}

// Read reads a guest. The error wraps fs.ErrNotExist if it is missing or incomplete.
func Read(dir string) (Image, error) {
	i := Image{Name: filepath.Base(dir), Directory: dir}
	text, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(text, &i); err != nil {
		return i, fmt.Errorf("%s: %w", filepath.Join(dir, infoFile), err)
	}
	i.Name, i.Directory = filepath.Base(dir), dir
	info, err := os.Stat(i.File())
	if err == nil && info.Size() == 0 {
		err = fmt.Errorf("%s is empty", i.File())
	}
	if err != nil {
		return i, err
	}
	i.Size = info.Size()
	return i, nil
}

// List returns the guests in directories, sorted by name. Of those with the same name, the first
// one is used. Incomplete ones have no Architecture.
func List(directories []string) []Image {
	found := map[string]Image{}
	for _, dir := range directories {
		entries, _ := os.ReadDir(dir) // most do not exist
		for _, e := range entries {
			if _, known := found[e.Name()]; known || !e.IsDir() || CheckName(e.Name()) != nil {
				continue
			}
			i, err := Read(filepath.Join(dir, e.Name()))
			if err != nil {
				i.Architecture = ""
			}
			found[e.Name()] = i
		}
	}
	var all []Image
	for _, i := range found {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Write writes image.json.
func (i Image) Write() error {
	file := filepath.Join(i.Directory, infoFile)
	i.Directory, i.Size = "", 0
	text, err := json.MarshalIndent(i, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Temporary is the start of the names of directories that are built or removed, which no guest
// has.
const Temporary = ".build-"

// Remove removes a guest.
func (i *Image) Remove() error {
	// Rename it first, so that a removal that is interrupted leaves no half of it.
	gone, err := os.MkdirTemp(filepath.Dir(i.Directory), Temporary)
	if err != nil {
		return err
	}
	if err := os.Rename(i.Directory, filepath.Join(gone, "old")); err != nil {
		os.Remove(gone)
		return err
	}
	return os.RemoveAll(gone)
}
