package snapshot

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteSpec writes how to make a snapshot. Several starts may do so at once.
func (s Store) WriteSpec(key string, spec Spec) error {
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	dir := s.path(key, suffixSpec)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The unit binds what these links point to.
	links := map[string]string{BundleLink: spec.Bundle, ImageLink: spec.Image}
	for name, target := range links {
		link := filepath.Join(dir, name)
		if found, _ := os.Readlink(link); found == target {
			continue
		}
		os.Remove(link)
		if err := os.Symlink(target, link); target != "" && err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	f, err := os.CreateTemp(dir, "")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return cmp.Or(err, f.Close(), os.Rename(f.Name(), filepath.Join(dir, specFile)))
}

// ReadSpec returns how to make a snapshot.
func (s Store) ReadSpec(key string) (Spec, error) {
	var spec Spec
	text, err := os.ReadFile(filepath.Join(s.path(key, suffixSpec), specFile))
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err == nil && len(spec.Command) == 0 {
		err = errors.New("no command")
	}
	return spec, err
}
