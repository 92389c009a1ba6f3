package scripts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutants checks that each edit in test/attack/mutants still changes each of its files; "make
// attack-mutants" takes too long to be run often.
func TestMutants(t *testing.T) {
	text, err := os.ReadFile("../test/attack/mutants")
	if err != nil {
		t.Fatal(err)
	}
	edits := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			t.Errorf("not three fields: %s", line)
			continue
		}
		edits++
		for name := range strings.FieldsSeq(fields[0]) {
			before, err := os.ReadFile(filepath.Join("..", name))
			if err != nil {
				t.Error(err)
				continue
			}
			cmd := exec.Command("sed", "-E", "-e", fields[1])
			cmd.Stdin = bytes.NewReader(before)
			after, err := cmd.CombinedOutput()
			if err != nil || bytes.Equal(after, before) {
				t.Errorf("%s changes nothing in %s: %v", fields[1], name, err)
			}
		}
	}
	if edits == 0 {
		t.Error("no edits")
	}
}
