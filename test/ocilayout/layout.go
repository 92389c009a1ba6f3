// Package ocilayout makes container images for tests: directories with the OCI image layout.
package ocilayout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// File is an entry of a layer. The type is that of the header or, if there is none, a directory if
// the name ends with a slash, a symbolic link if Link is set, and otherwise a regular file.
type File struct {
	tar.Header
	Text string
}

// Layer returns a layer, a tar archive.
func Layer(files ...File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := f.Header
		switch {
		case h.Typeflag != 0:
		case h.Name[len(h.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		case h.Linkname != "":
			h.Typeflag = tar.TypeSymlink
		default:
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.Size = int64(len(f.Text)); h.Typeflag == tar.TypeReg || h.Size == 0 {
			if err := w.WriteHeader(&h); err != nil {
				return nil, err
			}
		}
		if _, err := w.Write([]byte(f.Text)); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// Write writes an image of layers, the lowest first, to a directory. env are its variables.
func Write(dir string, env []string, layers ...[]byte) error {
	blobs := filepath.Join(dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	blob := func(mediaType string, data []byte) (descriptor, error) {
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		return descriptor{mediaType, "sha256:" + sum, len(data)}, os.WriteFile(filepath.Join(blobs, sum), data, 0o644)
	}
	var descriptors []descriptor
	var plain []string
	for _, layer := range layers {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(layer)
		w.Close()
		d, err := blob("application/vnd.oci.image.layer.v1.tar+gzip", b.Bytes())
		if err != nil {
			return err
		}
		descriptors = append(descriptors, d)
		plain = append(plain, fmt.Sprintf("sha256:%x", sha256.Sum256(layer)))
	}
	type object = map[string]any
	text := func(value any) []byte {
		data, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		return data
	}
	config, err := blob("application/vnd.oci.image.config.v1+json", text(object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Env": env, "Entrypoint": []string{"/nowhere"}, "User": "nobody"},
		"rootfs": object{"type": "layers", "diff_ids": plain},
	}))
	if err != nil {
		return err
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := blob(manifestType, text(object{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": descriptors}))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), text(object{"schemaVersion": 2, "manifests": []descriptor{manifest}}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}
