package dropin

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// FuzzOverrides gives one option any value, as a literal or as in a .vm file, and checks
// that the drop-ins have no lines other than those of settings.
func FuzzOverrides(f *testing.F) {
	for i := range 2 * (len(vmfile.Keys) + 1) {
		for _, value := range []string{"", "8G", "a b", "/srv/a:/b", "A=\n[Service]\nExecStart=evil", "80", "\x1b", "\xdf", `a\`, "%h"} {
			f.Add(value, uint(i))
		}
	}
	f.Fuzz(func(t *testing.T, value string, number uint) {
		o := vmfile.Option{Flag: "--set", Key: "Service.MemoryMax", Value: value, Literal: number%2 == 1}
		if n := int(number / 2 % uint(len(vmfile.Keys)+1)); n < len(vmfile.Keys) {
			o.Key = vmfile.Keys[n].Name
		}
		base := vm.Default()
		v, invalid := vmfile.Apply(base, []vmfile.Option{o}, me)
		if invalid != nil {
			return
		}
		tree, err := Overrides("srv-web", v, base, "token")
		if err != nil {
			t.Fatalf("%s=%q: %v", o.Key, value, err)
		}
		if len(tree) == 0 || tree[0].Path != OverridePaths("srv-web")[0] || !strings.Contains(tree[0].Text, `"OVERRIDES=token"`) {
			t.Fatalf("the setup unit has no token: %q", tree)
		}
		for _, n := range tree {
			if !utf8.ValidString(n.Text) {
				t.Fatalf("%s is not valid UTF-8: %q", n.Path, n.Text)
			}
			file, errs := unitfile.Parse(n.Path, []byte(n.Text))
			if len(errs) > 0 {
				t.Fatalf("%v in\n%s", errs, n.Text)
			}
			for _, e := range file.Entries {
				expected := e.Section == "Unit" && e.Key == "Documentation" ||
					e.Section == "Service" && (e.Key == "MemoryMax" && o.Key == "Service.MemoryMax" || slices.Contains(settingKeys, e.Key))
				if !expected {
					t.Fatalf("%s has [%s] %s=%s", n.Path, e.Section, e.Key, e.Value)
				}
			}
		}
	})
}
