package imagebuild

import (
	"archive/tar"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"time"
)

// collect returns the directories, parents first, and the other files. It sets their paths.
func (t *tree) collect() (directories, files []*node) {
	seen := map[*node]bool{}
	var walk func(n *node, name string)
	walk = func(n *node, name string) {
		if seen[n] { // a hard link
			n.paths = append(n.paths, name)
			return
		}
		seen[n], n.paths = true, []string{name}
		if n.children == nil {
			files = append(files, n)
			return
		}
		directories = append(directories, n)
		for _, base := range slices.Sorted(maps.Keys(n.children)) {
			walk(n.children[base], path.Join(name, base))
		}
	}
	walk(t.root, ".")
	return directories, files
}

// size returns the size of the contents in bytes.
func (t *tree) size() (total int64) {
	_, files := t.collect()
	for _, f := range files {
		total += min(f.header.Size, math.MaxInt64-total) // sizes of sparse files may be anything
	}
	return total
}

// write writes the tree as a tar archive. open opens a layer again.
func (t *tree) write(w io.Writer, layers int, open func(layer int) (io.ReadCloser, error)) error {
	out := tar.NewWriter(w)
	directories, files := t.collect()
	wanted := make([]map[int]*node, layers)
	for _, d := range directories {
		if err := out.WriteHeader(d.headerAt(d.paths[0])); err != nil {
			return err
		}
	}
	for _, f := range files {
		if f.header.Typeflag == tar.TypeReg {
			if wanted[f.layer] == nil {
				wanted[f.layer] = map[int]*node{}
			}
			wanted[f.layer][f.index] = f
			continue
		}
		if err := f.write(out, nil); err != nil {
			return err
		}
	}
	for layer, nodes := range wanted {
		if len(nodes) == 0 {
			continue
		}
		if err := copyContents(out, nodes, layer, open); err != nil {
			return err
		}
	}
	return out.Close()
}

func copyContents(out *tar.Writer, nodes map[int]*node, layer int, open func(layer int) (io.ReadCloser, error)) error {
	r, err := open(layer)
	if err != nil {
		return err
	}
	defer r.Close()
	archive := tar.NewReader(r)
	for i := 0; len(nodes) > 0; i++ {
		if _, err := archive.Next(); err != nil {
			return err
		}
		if n := nodes[i]; n != nil {
			if err := n.write(out, archive); err != nil {
				return err
			}
			delete(nodes, i)
		}
	}
	return nil
}

// write writes a file, with its content, and its hard links.
func (n *node) write(out *tar.Writer, content io.Reader) error {
	if err := out.WriteHeader(n.headerAt(n.paths[0])); err != nil {
		return err
	}
	if content != nil {
		if _, err := io.Copy(out, content); err != nil {
			return err
		}
	}
	for _, name := range n.paths[1:] {
		h := n.headerAt(name)
		h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, n.paths[0], 0, nil
		if err := out.WriteHeader(h); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) headerAt(name string) *tar.Header {
	h := &tar.Header{
		Typeflag: n.header.Typeflag, Name: name, Mode: n.header.Mode & 0o7777, Uid: n.header.Uid, Gid: n.header.Gid,
		ModTime: n.header.ModTime, PAXRecords: n.header.PAXRecords, Format: tar.FormatPAX,
	}
	if seconds := h.ModTime.Unix(); seconds < 0 || seconds > math.MaxInt32 {
		h.ModTime = time.Unix(0, 0)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		h.Size = n.header.Size
	case tar.TypeSymlink:
		h.Linkname = n.header.Linkname
	case tar.TypeDir:
		h.Name += "/"
	}
	return h
}
