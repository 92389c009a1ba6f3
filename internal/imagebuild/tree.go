package imagebuild

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// tree is the root directory that results from the layers of an image. It knows the headers of
// the files; their contents stay in the layers.
type tree struct {
	root    *node
	entries int
	used    int64 // of maxMemory
}

// node is a file. A hard link is the same node at another place.
type node struct {
	header   tar.Header
	children map[string]*node // of a directory; otherwise nil
	// layer and index are where the content of a regular file is.
	layer, index int
	length       int      // of the path in bytes
	paths        []string // set by collect
}

// Limits for hostile images.
const (
	maxEntries = 5_000_000
	// maxMemory is for headers and directories, about; each look-up of a name also counts as a byte of it,
	// which limits the time.
	maxMemory = 2 << 30
	maxLinks  = 40 // as in path_resolution(7)
	maxPath   = 4095
)

// charge is called before memory is used.
func (t *tree) charge(bytes int) error {
	if t.used += int64(bytes); t.used > maxMemory {
		return fmt.Errorf("the names and attributes of its files need more than %d GiB", maxMemory>>30)
	}
	return nil
}

// place puts a file in a directory.
func (t *tree) place(dir *node, name string, n *node) error {
	const size = 512 // of a node, about
	n.length = max(n.length, dir.length+1+len(name))
	if n.length > maxPath {
		return errors.New("a path is longer than 4095 bytes")
	}
	dir.children[name] = n
	return t.charge(size + n.length)
}

func newTree() *tree { return &tree{root: newDirectory()} }

// newDirectory returns a directory for which a layer has no entry.
func newDirectory() *node {
	return &node{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}, children: map[string]*node{}}
}

// add applies a layer, which is a tar archive, to the tree.
func (t *tree) add(layer int, r io.Reader) error {
	entries, err := t.readEntries(r)
	if err != nil {
		return err
	}
	// Whiteouts remove files of the layers below, also if they follow files of this one.
	for _, e := range entries {
		if err := t.whiteOut(e.name); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if strings.HasPrefix(path.Base(e.name), whiteout) || strings.Contains("/"+e.name, "/"+whiteoutMeta) {
			continue
		}
		if err := t.addEntry(layer, e); err != nil {
			return fmt.Errorf("%q: %w", e.name, err)
		}
	}
	return nil
}

// Names of whiteouts, see the OCI image specification. Other names that start with whiteoutMeta
// are metadata of aufs.
const (
	whiteout     = ".wh."
	whiteoutMeta = ".wh..wh."
	opaque       = ".wh..wh..opq"
)

func (t *tree) whiteOut(name string) error {
	base := path.Base(name)
	removed, found := strings.CutPrefix(base, whiteout)
	if !found {
		return nil
	}
	parent, err := t.lookup(path.Dir(name), false)
	switch {
	case err != nil:
		return err
	case parent == nil || parent.children == nil:
	case base == opaque:
		clear(parent.children)
	default:
		delete(parent.children, removed)
	}
	return nil
}

func (t *tree) addEntry(layer int, e entry) error {
	if e.name == "." {
		if e.header.Typeflag == tar.TypeDir {
			t.root.header = *e.header
		}
		return nil
	}
	parent, err := t.lookup(path.Dir(e.name), true)
	if err != nil {
		return err
	}
	base := path.Base(e.name)
	old := parent.children[base]
	switch e.header.Typeflag {
	case tar.TypeLink:
		target, err := t.linkTarget(e.header.Linkname)
		if err != nil {
			return err
		}
		return t.place(parent, base, target)
	case tar.TypeDir:
		if old != nil && old.children != nil {
			old.header = *e.header
			return nil
		}
		return t.place(parent, base, &node{header: *e.header, children: map[string]*node{}})
	}
	return t.place(parent, base, &node{header: *e.header, layer: layer, index: e.index})
}

func (t *tree) linkTarget(name string) (*node, error) {
	name, err := cleanName(name)
	if err != nil {
		return nil, err
	}
	parent, err := t.lookup(path.Dir(name), false)
	if err != nil {
		return nil, err
	}
	if parent == nil || parent.children[path.Base(name)] == nil {
		return nil, fmt.Errorf("hard link to %q, which does not exist", name)
	}
	target := parent.children[path.Base(name)]
	if target.children != nil {
		return nil, fmt.Errorf("hard link to %q, which is a directory", name)
	}
	return target, nil
}

// lookup returns the directory with a name. Symbolic links are followed, also in the last
// component, with the image as the root directory. With create, directories that do not exist
// are created, and files that are in the way are replaced; otherwise the result may be nil.
func (t *tree) lookup(name string, create bool) (*node, error) {
	rest := strings.Split(name, "/")
	stack := []*node{t.root}
	for links := 0; len(rest) > 0; {
		if err := t.charge(1); err != nil {
			return nil, err
		}
		part := rest[0]
		rest = rest[1:]
		dir := stack[len(stack)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			stack = stack[:max(len(stack)-1, 1)]
			continue
		}
		child := dir.children[part]
		if child != nil && child.header.Typeflag == tar.TypeSymlink {
			if links++; links > maxLinks {
				return nil, errors.New("too many symbolic links")
			}
			if path.IsAbs(child.header.Linkname) {
				stack = stack[:1]
			}
			rest = append(strings.Split(child.header.Linkname, "/"), rest...)
			continue
		}
		if child == nil || child.children == nil {
			if !create {
				return nil, nil
			}
			child = newDirectory()
			if err := t.place(dir, part, child); err != nil {
				return nil, err
			}
		}
		stack = append(stack, child)
	}
	return stack[len(stack)-1], nil
}
