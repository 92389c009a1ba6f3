package snapshot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// make makes a snapshot with a sparse file that starts as QEMU's.
func (s Store) make(t *testing.T, key string) {
	t.Helper()
	lock, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	f, err := os.Create(s.NewMemory(key))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for offset, text := range map[int64]string{0: magic, 8 << 20: "middle", 32 << 20: "end"} {
		if _, err := f.WriteAt([]byte(text), offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(key, Spec{Guest: "debian", Memory: 1 << 30, CPUs: 2}); err != nil {
		t.Fatal(err)
	}
}

func testKey(digit string) string { return strings.Repeat(digit, keyLength) }

func TestStore(t *testing.T) {
	s, k := Store(t.TempDir()), testKey("a")
	if _, err := s.Read(k); !IsMissing(err) {
		t.Errorf("before: %v", err)
	}
	spec := newSpec(t)
	for range 2 {
		if err := s.WriteSpec(k, spec); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.ReadSpec(k); err != nil || got.Memory != spec.Memory || len(got.Command) != len(spec.Command) {
		t.Errorf("ReadSpec() = %+v, %v", got, err)
	}
	if got, err := os.Readlink(filepath.Join(s.path(k, suffixSpec), BundleLink)); got != spec.Bundle {
		t.Errorf("the link to the bundle is %q, %v", got, err)
	}
	s.make(t, k)
	if err := s.Finish(k); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(k)
	if err != nil || got.Guest != "debian" || got.Memory != 1<<30 || got.Created.IsZero() || got.Disk == 0 {
		t.Errorf("Read() = %+v, %v", got, err)
	}
	if err := s.Check(got); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(string(s)); len(entries) != 1 || len(s.List()) != 1 {
		t.Errorf("left: %v, list: %v", entries, s.List())
	}
	if s.IsBad(k) {
		t.Error("a new snapshot is bad")
	}
	if err := s.Discard(k); err != nil || !s.IsBad(k) {
		t.Errorf("a discarded snapshot is not bad: %v", err)
	}
	if _, err := s.Read(k); !IsMissing(err) {
		t.Errorf("a discarded snapshot: %v", err)
	}
}

// TestCheck checks that each kind of damage is found.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(file string) error
		want   string
	}{
		"cut":     {func(file string) error { return os.Truncate(file, 1000) }, "it has 1000 bytes instead of "},
		"garbage": {func(file string) error { return writeAt(file, "garbage", 0) }, "QEMU has not written it"},
		"a page":  {func(file string) error { return writeAt(file, "mIddle", 8<<20) }, "its checksum is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			s, k := Store(t.TempDir()), testKey("b")
			s.make(t, k)
			found, err := s.Read(k)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(s.Memory(k), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(s.Memory(k)); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(found); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("Check() = %v, want %q", err, c.want)
			}
		})
	}
}

func writeAt(file, text string, offset int64) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(text), offset)
	return err
}

// TestOtherKey checks that a snapshot is not used for another VM, for example of another size.
func TestOtherKey(t *testing.T) {
	s := Store(t.TempDir())
	s.make(t, testKey("a"))
	if err := os.Rename(s.path(testKey("a"), ""), s.path(testKey("b"), "")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(testKey("b")); err == nil || IsMissing(err) {
		t.Errorf("Read() = %v", err)
	}
}

func TestPrune(t *testing.T) {
	s := Store(t.TempDir())
	for i, digit := range strings.Split("abcdef", "") {
		s.make(t, testKey(digit))
		age := time.Duration(i) * time.Hour
		if digit == "b" {
			age = maxAge + time.Hour
		}
		used := time.Now().Add(-age)
		if err := os.Chtimes(s.path(testKey(digit), ""), used, used); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * badFor)
	lock, err := s.Begin(testKey("3"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for name, at := range map[string]time.Time{testKey("0") + suffixNew: time.Now(), testKey("1") + suffixBad: old, testKey("2") + suffixBad: time.Now()} {
		if err := os.Mkdir(filepath.Join(string(s), name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(string(s), name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	// b is old, f is the fifth but kept, 3 is being made, 0 was killed.
	s.prunes(t, MinFree, "2.bad 3.new a c d e f")
	s.prunes(t, MinFree/2-1, "2.bad 3.new f")
}

// prunes checks what is left with a free disk space in bytes.
func (s Store) prunes(t *testing.T, free uint64, want string) {
	t.Helper()
	if err := s.prune(testKey("f"), func() uint64 { return free }); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, _ := os.ReadDir(string(s))
	for _, e := range entries {
		left = append(left, e.Name()[:1]+filepath.Ext(e.Name()))
	}
	if got := strings.Join(left, " "); got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
}
