package step

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// TestUnhidden checks what is reported at the end: what matches Hide= but was created later.
func TestUnhidden(t *testing.T) {
	root, paths := testTree(t, "mkdir -p w/secrets w/a; touch w/.env w/a/old.pem; ln -s a/target.key w/link.key; touch w/a/target.key")
	v := vm.Default()
	v.Hide = []string{"secrets", "@secrets", "!a/test.pem"}
	p, err := newPlan(t.Context(), paths, "x", filepath.Join(root, "w"), v)
	if err != nil {
		t.Fatal(err)
	}
	find := func(want ...string) {
		t.Helper()
		got, err := findUnhidden(t.Context(), p.shares[0], v.Hide)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	find()
	for _, name := range []string{"secrets/x.pem", "a/new.pem", "a/test.pem", "a/.env.local", "a/other"} {
		if err := os.WriteFile(filepath.Join(root, "w", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	find("a/.env.local", "a/new.pem")
	v.Hide = []string{"secrets"}
	find()
}
