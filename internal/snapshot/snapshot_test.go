package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "one", "TWO": `-x "a b" c`, "EMPTY": "", "QUOTE": `"`}
	for name, c := range map[string]struct{ words, want []string }{
		"a part of a word":    {[]string{"m=${A},b", "${A}${A}"}, []string{"m=one,b", "oneone"}},
		"one word":            {[]string{"${TWO}"}, []string{`-x "a b" c`}},
		"several words":       {[]string{"$TWO"}, []string{"-x", "a b", "c"}},
		"no words":            {[]string{"a", "$EMPTY", "$UNSET", "b"}, []string{"a", "b"}},
		"an empty word":       {[]string{"${EMPTY}", "${UNSET}"}, []string{"", ""}},
		"not in a word":       {[]string{"d=$A"}, []string{"d=$A"}},
		"a dollar":            {[]string{"$$A", "a$${A}"}, []string{"$A", "a${A}"}},
		"a value with dollar": {[]string{"a${QUOTE}"}, []string{`a"`}},
		"unbalanced quotes":   {[]string{"$QUOTE"}, []string{`"`}},
	} {
		if diff := cmp.Diff(c.want, Expand(c.words, env)); diff != "" {
			t.Errorf("%s: Expand(%q) mismatch (-want +got):\n%s", name, c.words, diff)
		}
	}
}

func TestDigest(t *testing.T) {
	of := func(words string) string { return Digest(strings.Fields(words)) }
	if of("qemu -name guest=a,x -m 1G") != of("qemu -name guest=b -m 1G") {
		t.Error("the name of the instance changes the digest")
	}
	if of("qemu -name guest=a -m 1G") == of("qemu -name guest=a -m 2G") {
		t.Error("the size of the memory does not change the digest")
	}
	command := []string{"qemu", "-name", "guest=a"}
	if Normalize(command); command[2] != "guest=a" {
		t.Error("Normalize changes its argument")
	}
	if !Possible([]string{"-device", "vmgenid,guid=auto"}) || Possible([]string{"-device", "other"}) {
		t.Error("Possible does not depend on vmgenid")
	}
}

// newSpec returns a Spec whose files are in a new directory.
func newSpec(t *testing.T) Spec {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"qemu", "virtiofsd", "kernel", "initrd", "root.erofs", "image.erofs"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return Spec{
		Command: []string{filepath.Join(dir, "qemu"), "-name", "guest=a", "-m", "1G"}, Virtiofsd: filepath.Join(dir, "virtiofsd"), Bundle: dir,
		Image: filepath.Join(dir, "image.erofs"), Memory: 1 << 30, CPUs: 2, Guest: "debian",
	}
}

func key(t *testing.T, s Spec) string {
	t.Helper()
	k, err := s.Key()
	if err != nil || !IsKey(k) {
		t.Fatalf("Key() = %q, %v", k, err)
	}
	return k
}

// TestKey checks that the key changes with each of its inputs, and with nothing else.
func TestKey(t *testing.T) {
	s := newSpec(t)
	before := key(t, s)
	seen := []string{before}
	fresh := func(what string, s Spec) {
		t.Helper()
		k := key(t, s)
		if slices.Contains(seen, k) {
			t.Errorf("%s does not change the key", what)
		}
		seen = append(seen, k)
	}
	other := s
	other.Command = []string{s.Command[0], "-name", "guest=b", "-m", "1G"}
	other.Guest = "other"
	if key(t, other) != before {
		t.Error("the instance's name changes the key")
	}
	other.Command = append(other.Command, "-device", "x")
	fresh("an argument", other)
	other = s
	other.KVM = true
	fresh("KVM", other)
	other = s
	other.Image = ""
	fresh("an image", other)
	for _, name := range []string{"qemu", "virtiofsd", "kernel", "initrd", "root.erofs", "image.erofs"} {
		path := filepath.Join(s.Bundle, name)
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
		fresh("the time of "+name, s)
	}
	if err := os.Remove(filepath.Join(s.Bundle, "kernel")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Key(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a kernel: %v", err)
	}
}

func TestProcessor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpuinfo")
	text := "processor\t: 0\nmodel name\t: Fast\ncpu MHz\t\t: 123.4\nflags\t\t: a b\n\nprocessor\t: 1\nmodel name\t: Other\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := processor(file); got != "model name\t: Fast\nflags\t\t: a b" || err != nil {
		t.Errorf("processor() = %q, %v", got, err)
	}
}

func TestIsKey(t *testing.T) {
	for text, want := range map[string]bool{
		strings.Repeat("0f", 16): true, "": false, strings.Repeat("0F", 16): false, strings.Repeat("0f", 15) + "..": false, strings.Repeat("a", 33): false,
	} {
		if IsKey(text) != want {
			t.Errorf("IsKey(%q) = %v", text, !want)
		}
	}
}
