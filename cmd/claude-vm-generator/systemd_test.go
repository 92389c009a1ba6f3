package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// oldestSystemd is the first version with Type=notify-reload, which a unit has.
const oldestSystemd = 253

// findSystemd returns the path of systemd, which dump runs with --test. The test is skipped
// only on a machine without a systemd that knows all keys of the units; scripts/test also
// runs it in the test host, where it must not be skipped.
func findSystemd(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/run/current-system/systemd/lib/systemd/systemd"} {
		version, err := exec.Command(path, "--version").Output()
		if err != nil {
			continue
		}
		var n int
		if fmt.Sscanf(string(version), "systemd %d", &n); n >= oldestSystemd {
			return path
		}
	}
	t.Skipf("systemd %d or newer is not installed; the end-to-end tests run this test with one", oldestSystemd)
	return ""
}

// TestSystemd checks that systemd loads the trees that the scripts expect without a
// warning, and that its units then have the expected variables and paths. It starts no
// units.
func TestSystemd(t *testing.T) {
	systemd := findSystemd(t)
	trees := map[string]map[string]string{}
	for name, text := range goldenUnits(t) {
		script, path, _ := strings.Cut(name, ": ")
		// Other scripts have lines in [Unit] and [Service] of which systemd may complain.
		if category, _, _ := strings.Cut(script, "_"); category == "key" || category == "escape" || category == "specifier" || category == "long" ||
			script == "inject_newline.txtar" || script == "inject_quote.txtar" || script == "inject_name.txtar" {
			if trees[script] == nil {
				trees[script] = map[string]string{}
			}
			trees[script][path] = strings.ReplaceAll(text, "$WORK", "/home/me")
		}
	}
	for script, tree := range trees {
		t.Run(strings.TrimSuffix(script, ".txtar"), func(t *testing.T) {
			got := dump(t, systemd, tree)
			for path, text := range tree {
				unit := strings.TrimSuffix(filepath.Dir(path), ".d")
				if strings.HasSuffix(unit, "@.service") {
					continue // a VM may override the settings for all VMs
				}
				for _, want := range dumpLines(t, path, text) {
					if !strings.Contains(got[unit], "\n"+want+"\n") {
						t.Errorf("%s lacks %q:\n%s", unit, want, got[unit])
					}
				}
			}
		})
	}
}

var (
	placeholder = regexp.MustCompile(`@[a-z_]+@(/claude-vm-ctl)?`)
	unitHead    = regexp.MustCompile(`(?m)^\t-> Unit (.*):$`)
)

// dump returns, by unit, the settings that systemd has loaded. Each variable, path and
// file is a line of its own.
func dump(t *testing.T, systemd string, tree map[string]string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wants := "[Unit]\nDescription=All\n"
	for path, text := range tree {
		write(path, text)
		if unit := strings.TrimSuffix(filepath.Dir(path), ".d"); !strings.Contains(unit, "@.") {
			wants += "Wants=" + unit + "\n"
		}
	}
	write("default.target", wants)
	units, err := filepath.Glob("../../units/*.service")
	if err != nil || len(units) == 0 {
		t.Fatalf("%q, %v", units, err)
	}
	sandbox, err := os.ReadFile("../../units/sandbox.inc")
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, []byte("@sandbox@\n"), sandbox)
		write(filepath.Base(unit), placeholder.ReplaceAllString(string(text), "/bin/true"))
	}
	cmd := exec.Command(systemd, "--user", "--test", "--dump-core=no")
	cmd.Env = []string{
		"HOME=/home/me", "XDG_RUNTIME_DIR=" + dir, "SYSTEMD_UNIT_PATH=" + dir,
		"SYSTEMD_GENERATOR_PATH=/nowhere", "SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nowhere",
	}
	if os.Getuid() == 0 { // systemd --test refuses to run as root
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	all := strings.ReplaceAll(stdout.String(), "→", "->") // depends on version and locale
	if err != nil || !strings.Contains(all, "\t-> Unit default.target:") {
		t.Fatalf("systemd --test: %v\n%s", err, stderr.String())
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, dir) { // a file and its line
			t.Errorf("systemd: %s", line)
		}
	}
	got := map[string]string{}
	for _, m := range unitHead.FindAllStringSubmatchIndex(all, -1) {
		text, _, _ := strings.Cut(all[m[1]:], "\n\t-> Unit ")
		got[all[m[2]:m[3]]] = plainLists(text) + "\n"
	}
	return got
}

// plainLists removes tabs and splits lists of paths into a line per path.
func plainLists(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\t", ""), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		if !strings.HasSuffix(key, "Paths") || strings.HasPrefix(key, "Bind") {
			b.WriteString("\n" + line)
			continue
		}
		for path := range strings.SplitSeq(value, " -") {
			b.WriteString("\n" + key + ": -" + strings.TrimPrefix(path, "-"))
		}
	}
	return b.String()
}

// dumpLines returns the lines that a drop-in must add to the dump.
func dumpLines(t *testing.T, path, text string) []string {
	t.Helper()
	file, errs := unitfile.Parse(path, []byte(text))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	unspecify := strings.NewReplacer("%%", "%", "%h", "/home/me").Replace
	var lines []string
	for _, e := range file.Entries {
		if e.Section != "Service" || e.Value == "" {
			continue
		}
		switch e.Key {
		case "Environment", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths":
			words, err := unitfile.Split(e.Value)
			if err != nil || len(words) != 1 {
				t.Fatalf("%s: %q, %v", e.Value, words, err)
			}
			lines = append(lines, e.Key+": "+unspecify(words[0]))
		case "EnvironmentFile":
			lines = append(lines, e.Key+": "+unspecify(e.Value))
		}
	}
	return lines
}

func TestDumpLines(t *testing.T) {
	got := dumpLines(t, "f", "[Service]\nEnvironment=\"A=\\\"%%h\\\"\"\nReadOnlyPaths=-%h/a\nReadOnlyPaths=\nBindPaths=a:b\n")
	if diff := cmp.Diff([]string{`Environment: A="%h"`, "ReadOnlyPaths: -/home/me/a"}, got); diff != "" {
		t.Errorf("dumpLines() mismatch (-want +got):\n%s", diff)
	}
}
