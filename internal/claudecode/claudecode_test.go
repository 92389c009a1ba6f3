package claudecode

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"2.1.9", "2.1.10", true},
		{"2.1.10", "2.1.9", false},
		{"2.1.330", "2.1.330", false},
		{"1.9.9", "2.0.0", true},
		{"2.1", "2.1.1", true},
		{"2.1.0", "", false},
	} {
		if got := Older(c.a, c.b); got != c.want {
			t.Errorf("Older(%q, %q) = %v", c.a, c.b, got)
		}
	}
}

// pack writes an archive as of npm.
func pack(t *testing.T, files map[string]string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "package.tgz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	out := tar.NewWriter(z)
	for name, text := range files {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnpack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "2.1.0")
	if err := unpack(pack(t, map[string]string{"package/claude": "program", "package/../../outside": "x", "package/package.json": "{}"}), dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("unpacked: %v, %v", entries, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "claude")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program: %v, %v", info, err)
	}
	err = unpack(pack(t, map[string]string{"package/package.json": "{}"}), filepath.Join(t.TempDir(), "2.1.0"))
	if err == nil || !strings.Contains(err.Error(), "has no program") {
		t.Errorf("a package without a program: %v", err)
	}
}

func TestSelected(t *testing.T) {
	dir := t.TempDir()
	if p, err := Selected(filepath.Join(dir, "none")); p != nil || err != nil {
		t.Errorf("without a directory: %v, %v", p, err)
	}
	for _, name := range []string{"1.0.0", "1.0.1", ".new-1"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "1.0.0/claude"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, selected)
	for target, want := range map[string]string{"1.0.0": "", "1.0.1": "no such file", "../x": "not a link to a version", "/etc": "not a link to a version", "current": "not a link to a version"} {
		os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		p, err := Selected(dir)
		if want == "" && (err != nil || p.Version != "1.0.0") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("a link to %s: %v, %v, want %q", target, p, err, want)
		}
	}
	used := func(path string) bool { return path == filepath.Join(dir, "1.0.0/claude") }
	if changed, err := Deselect(t.Context(), dir, used); !changed || err != nil {
		t.Errorf("Deselect: %v, %v", changed, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != "1.0.0" {
		t.Errorf("left: %v", entries)
	}
	if changed, err := Deselect(t.Context(), dir, used); changed || err != nil {
		t.Errorf("Deselect again: %v, %v", changed, err)
	}
}

// TestInstall also repairs a version of which a part is missing, as the error of a start asks for.
func TestInstall(t *testing.T) {
	dir, archive := t.TempDir(), pack(t, map[string]string{"package/claude": "program", "package/LICENSE.md": "licence"})
	for _, damage := range []string{"", "1.0.0/claude", "1.0.0"} {
		if damage != "" {
			if err := os.RemoveAll(filepath.Join(dir, damage)); err != nil {
				t.Fatal(err)
			}
		}
		if err := install(archive, t.TempDir(), dir, "1.0.0"); err != nil {
			t.Fatalf("without %q: %v", damage, err)
		}
		if p, err := Selected(dir); err != nil || p.Version != "1.0.0" {
			t.Errorf("without %q: %v, %v", damage, p, err)
		}
	}
}
