package vmfile

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite nix/keys.json")

// TestNixKeys compares the table of keys with nix/keys.json, from which the Nix modules make
// their options.
func TestNixKeys(t *testing.T) {
	type key struct {
		Boolean bool   `json:"boolean"`
		List    bool   `json:"list"`
		Default string `json:"default"`
		Value   string `json:"value"`
		Doc     string `json:"doc"`
	}
	sections := map[string]map[string]key{}
	for _, k := range Keys {
		if sections[k.Section] == nil {
			sections[k.Section] = map[string]key{}
		}
		sections[k.Section][k.Name] = key{k.Value == Boolean, k.words, k.Default, k.Value, k.Doc}
	}
	want, err := json.MarshalIndent(sections, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../nix/keys.json"
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); string(got) != string(want) {
		t.Errorf("%s differs from the table of keys: go test ./internal/vmfile -update (%v)", file, err)
	}
}
