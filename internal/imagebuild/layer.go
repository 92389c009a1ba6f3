package imagebuild

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
)

// entry is a header of a layer with a clean name, and its number in the layer.
type entry struct {
	name   string
	index  int
	header *tar.Header
}

func (t *tree) readEntries(r io.Reader) ([]entry, error) {
	var entries []entry
	archive := tar.NewReader(r)
	for i := 0; ; i++ {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return entries, nil
		case err != nil:
			return nil, fmt.Errorf("not a valid tar archive: %w", err)
		}
		if t.entries++; t.entries > maxEntries {
			return nil, fmt.Errorf("more than %d files", maxEntries)
		}
		if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			continue // /dev is the guest's
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return nil, err
		}
		if err := checkHeader(h); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		h.PAXRecords = attributes(h.PAXRecords)
		size := 512 + len(name) + len(h.Linkname) // about
		for key, value := range h.PAXRecords {
			size += len(key) + len(value)
		}
		if err := t.charge(size); err != nil {
			return nil, err
		}
		entries = append(entries, entry{name, i, h})
	}
}

// cleanName returns the name relative to the root directory, which is ".".
func cleanName(name string) (string, error) {
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if part == ".." {
			return "", fmt.Errorf("%q: a name with .. may be outside of the image", name)
		}
		if len(part) > 255 {
			return "", fmt.Errorf("%q…: longer than 255 bytes", part[:40])
		}
	}
	if len(name) > maxPath {
		return "", fmt.Errorf("%q…: longer than 4095 bytes", name[:40])
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("%q: contains a NUL", name)
	}
	return path.Clean(strings.TrimLeft(path.Clean("/"+name), "/")), nil
}

func checkHeader(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo:
	case tar.TypeGNUSparse, tar.TypeCont, 0: // the reader fills the holes of a sparse file
		h.Typeflag = tar.TypeReg
	default:
		return fmt.Errorf("unknown type %q", h.Typeflag)
	}
	for _, id := range []int{h.Uid, h.Gid} {
		if id < 0 || id >= math.MaxUint32 {
			return fmt.Errorf("invalid owner %d:%d", h.Uid, h.Gid)
		}
	}
	if h.Typeflag == tar.TypeSymlink && (h.Linkname == "" || len(h.Linkname) > maxPath) {
		return errors.New("invalid symbolic link")
	}
	return nil
}

// attributes returns the extended attributes that mean the same in the guest: not those of
// other security modules or of overlayfs.
func attributes(records map[string]string) map[string]string {
	const prefix = "SCHILY.xattr."
	var kept map[string]string
	for key, value := range records {
		if key == prefix+"security.capability" || strings.HasPrefix(key, prefix+"user.") && !strings.HasPrefix(key, prefix+"user.overlay.") {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = value
		}
	}
	return kept
}
