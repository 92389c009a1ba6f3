package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// registry answers as npm's registry does, from the packages in the mirror: NAME describes the
// package, of which there is one version, and NAME/-/FILE is its archive.
func registry(w http.ResponseWriter, r *http.Request) {
	dir := filepath.Join(mirror, "npm")
	if filepath.Ext(r.URL.Path) == ".tgz" {
		http.ServeFile(w, r, filepath.Join(dir, filepath.Base(r.URL.Path)))
		return
	}
	file := strings.ReplaceAll(strings.TrimLeft(r.URL.Path, "/@"), "/", "-") // as npm pack names it
	files, err := filepath.Glob(filepath.Join(dir, file+"-[0-9]*.tgz"))
	if err != nil || len(files) != 1 {
		http.Error(w, `{"error": "not found"}`, http.StatusNotFound)
		return
	}
	text, err := describe(files[0], "https://"+r.Host+r.URL.Path+"/-/"+filepath.Base(files[0]))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

// describe returns the registry's description of a package.
func describe(file, url string) ([]byte, error) {
	archive, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p, err := readPackage(file)
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(archive)
	p["dist"] = map[string]string{"tarball": url, "integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}
	version := fmt.Sprint(p["version"])
	return json.Marshal(map[string]any{
		"name": p["name"], "dist-tags": map[string]string{"latest": version}, "versions": map[string]any{version: p},
	})
}

// readPackage returns package.json of an archive.
func readPackage(file string) (p map[string]any, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if err == io.EOF {
			return nil, fmt.Errorf("%s has no package.json", file)
		}
		if err != nil {
			return nil, err
		}
		if h.Name == "package/package.json" {
			return p, json.NewDecoder(in).Decode(&p)
		}
	}
}
