package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"golang.org/x/sys/unix"
)

// Prune removes what is left of making snapshots, and all snapshots but that with the key keep that were not
// used for long, or are too many, or if the disk has little free space.
func (s Store) Prune(keep string) error { return s.prune(keep, s.free) }

func (s Store) prune(keep string, free func() uint64) error {
	var errs []error
	for i, found := range s.List() {
		if found.Key != keep && (i >= maxCount || time.Since(found.Used) > maxAge || free() < MinFree/2) {
			errs = append(errs, s.Remove(found.Key))
		}
	}
	entries, _ := os.ReadDir(string(s))
	for _, e := range entries {
		path, ext := filepath.Join(string(s), e.Name()), filepath.Ext(e.Name())
		info, err := e.Info()
		old := err == nil && time.Since(info.ModTime()) > badFor && e.Name() != keep+ext
		if ext == suffixNew {
			lock, err := tryLock(path)
			if old = err == nil; old {
				defer lock.Close()
			}
		}
		if old && ext != "" {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}

// free returns the free disk space in bytes; 0 if it is unknown.
func (s Store) free() uint64 {
	var st unix.Statfs_t
	if err := unix.Statfs(string(s), &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// HasRoom returns an error if there is not enough disk space to make a snapshot.
func (s Store) HasRoom() error {
	if free := s.free(); free < MinFree {
		return failure.New(failure.HostUnable, "", "only %d MB are free in %s", free>>20, s)
	}
	return nil
}
