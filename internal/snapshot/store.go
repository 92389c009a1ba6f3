package snapshot

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Store is the directory with the snapshots. Each is a directory KEY. Beside it, KEY.spec is how to make
// it, KEY.new what is being made, and KEY.bad a file that exists after resuming has failed.
type Store string

// Files of a snapshot, and what Spec refers to.
const (
	memoryFile = "memory" // written by QEMU
	infoFile   = "snapshot.json"
	specFile   = "spec.json"
	BundleLink = "bundle"
	ImageLink  = "image"
)

const (
	suffixSpec = ".spec"
	suffixNew  = ".new"
	suffixBad  = ".bad"
)

// Limits of what is kept.
const (
	maxAge   = 30 * 24 * time.Hour // since the last use
	maxCount = 4
	// MinFree is the disk space in bytes that must be free to make a snapshot. Snapshots are removed
	// when less than half of it is.
	MinFree = 2 << 30
	// badFor is how long a snapshot with which resuming has failed is not made again.
	badFor = 24 * time.Hour
)

// Snapshot describes a snapshot.
type Snapshot struct {
	Key     string    `json:"key"`
	Guest   string    `json:"guest"`
	Memory  uint64    `json:"memory"` // of the guest, in bytes
	CPUs    int       `json:"cpus"`
	KVM     bool      `json:"kvm"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
	Disk    uint64    `json:"disk"` // disk space in bytes

	sum checksum
}

// info is the content of infoFile.
type info struct {
	Snapshot
	Checksum checksum `json:"checksum"`
}

func (s Store) path(key, suffix string) string { return filepath.Join(string(s), key+suffix) }

// Memory returns the path of the file with the memory of a snapshot.
func (s Store) Memory(key string) string { return filepath.Join(s.path(key, ""), memoryFile) }

// NewMemory returns where QEMU writes the memory of a snapshot that is being made.
func (s Store) NewMemory(key string) string { return filepath.Join(s.path(key, suffixNew), memoryFile) }

// Read returns a snapshot. The error wraps fs.ErrNotExist if there is none.
func (s Store) Read(key string) (Snapshot, error) {
	text, err := os.ReadFile(filepath.Join(s.path(key, ""), infoFile))
	if err != nil {
		return Snapshot{Key: key}, err
	}
	var i info
	if err := json.Unmarshal(text, &i); err != nil {
		return Snapshot{Key: key}, fmt.Errorf("%s: %w", infoFile, err)
	}
	found := i.Snapshot
	found.sum = i.Checksum
	if found.Key != key {
		return Snapshot{Key: key}, fmt.Errorf("it is the snapshot %q", found.Key)
	}
	var st unix.Stat_t
	if err := unix.Stat(s.Memory(key), &st); err != nil {
		return found, &os.PathError{Op: "stat", Path: s.Memory(key), Err: err}
	}
	found.Disk = uint64(st.Blocks) * 512
	if dir, err := os.Stat(s.path(key, "")); err == nil {
		found.Used = dir.ModTime()
	}
	return found, nil
}

// Check returns an error unless the file of a snapshot has the content that QEMU has written.
func (s Store) Check(found Snapshot) error { return found.sum.check(s.Memory(found.Key)) }

// Touch records that a snapshot was used.
func (s Store) Touch(key string) {
	now := time.Now()
	_ = os.Chtimes(s.path(key, ""), now, now) // else it is removed earlier
}

// List returns all snapshots, the last used first, also incomplete ones.
func (s Store) List() []Snapshot {
	entries, _ := os.ReadDir(string(s))
	var all []Snapshot
	for _, e := range entries {
		if e.IsDir() && IsKey(e.Name()) {
			found, _ := s.Read(e.Name())
			all = append(all, found)
		}
	}
	slices.SortFunc(all, Compare)
	return all
}

// Remove removes a snapshot. A VM that is resuming from it keeps the file open.
func (s Store) Remove(key string) error {
	return errors.Join(os.RemoveAll(s.path(key, "")), os.RemoveAll(s.path(key, suffixBad)))
}

// RemoveAll removes all snapshots, and what is known of them.
func (s Store) RemoveAll() error { return os.RemoveAll(string(s)) }

// Discard removes a snapshot with which resuming has failed. It is not made again for some time.
func (s Store) Discard(key string) error {
	return errors.Join(os.RemoveAll(s.path(key, "")), os.WriteFile(s.path(key, suffixBad), nil, 0o600))
}

// IsBad reports whether resuming has failed lately.
func (s Store) IsBad(key string) bool {
	info, err := os.Stat(s.path(key, suffixBad))
	return err == nil && time.Since(info.ModTime()) < badFor
}

// Disk returns the disk space in bytes that the snapshots take.
func (s Store) Disk() (sum uint64) {
	for _, found := range s.List() {
		sum += found.Disk
	}
	return sum
}

// Begin creates an empty directory for a snapshot that is being made. It is locked until the result is
// closed, also if this process is killed.
func (s Store) Begin(key string) (lock io.Closer, err error) {
	if err := s.Abandon(key); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.path(key, suffixNew), 0o700); err != nil {
		return nil, err
	}
	return tryLock(s.path(key, suffixNew))
}

// tryLock locks a directory. It fails if another process has locked it.
func tryLock(path string) (io.Closer, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return dir, nil
}

// Abandon removes what is left of making a snapshot.
func (s Store) Abandon(key string) error { return os.RemoveAll(s.path(key, suffixNew)) }

// Finish removes how to make a snapshot.
func (s Store) Finish(key string) error {
	return errors.Join(s.Abandon(key), os.RemoveAll(s.path(key, suffixSpec)))
}

// Commit makes a snapshot of what QEMU has written to NewMemory. It is complete or missing, also
// after a crash of the host.
func (s Store) Commit(key string, spec Spec) error {
	file := s.NewMemory(key)
	sum, err := newChecksum(file)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	text, err := json.Marshal(info{
		Snapshot{Key: key, Guest: spec.Guest, Memory: spec.Memory, CPUs: spec.CPUs, KVM: spec.KVM, Created: now, Used: now}, sum,
	})
	if err != nil {
		return err
	}
	if err := cmp.Or(os.Chmod(file, 0o400), os.WriteFile(filepath.Join(s.path(key, suffixNew), infoFile), text, 0o400)); err != nil {
		return err
	}
	for _, path := range []string{file, filepath.Join(s.path(key, suffixNew), infoFile), s.path(key, suffixNew)} {
		if err := sync(path); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.path(key, "")); err != nil { // an incomplete one
		return err
	}
	if err := os.Rename(s.path(key, suffixNew), s.path(key, "")); err != nil {
		return err
	}
	return sync(string(s))
}

func sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// IsMissing reports whether err is that of Read for a snapshot that does not exist.
func IsMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
