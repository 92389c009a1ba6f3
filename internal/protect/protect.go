// Package protect keeps the guest from changing or reading paths of the shared directories.
// Look finds out which mounts that takes, from what is at the paths; Apply makes the mounts,
// in the mount namespace of virtiofsd.
package protect

import "slices"

// Mode is what the guest may do with a path.
type Mode string

// The modes, from the least to the most strict.
const (
	// ReadWrite restricts nothing, but makes a mount point of the path. A mount point cannot
	// be renamed or removed, so nothing else can take the place of what is in it.
	ReadWrite Mode = "read-write"
	ReadOnly  Mode = "read-only"
	Hidden    Mode = "hidden" // an empty file or directory without permissions is shown
)

var modes = []Mode{ReadWrite, ReadOnly, Hidden}

// stricter reports whether m permits less than other.
func (m Mode) stricter(other Mode) bool { return slices.Index(modes, m) > slices.Index(modes, other) }

// Mount is a path in a shared directory on which something has to be mounted.
type Mount struct {
	Path string `json:"path"` // relative and clean, without symbolic links in its directories
	Mode Mode   `json:"mode"`
	// Type is the file type that Look has seen, one of the S_IF constants of inode(7).
	Type uint32 `json:"type"`
}
