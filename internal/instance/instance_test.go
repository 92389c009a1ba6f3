package instance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEscape(t *testing.T) {
	// The ids are the output of systemd-escape --path.
	for path, want := range map[string]string{
		"/":                    "-",
		"/home/dev/project":    "home-dev-project",
		"/home/dev/my project": `home-dev-my\x20project`,
		"/a-b/.c/d.e":          `a\x2db-.c-d.e`,
		"/.hidden":             `\x2ehidden`,
		"/é/%n/$HOME,":         `\xc3\xa9-\x25n-\x24HOME\x2c`,
		"/tab\there":           `tab\x09here`,
		`/back\slash:colon_`:   `back\x5cslash:colon_`,
	} {
		if got := Escape(path); got != want {
			t.Errorf("Escape(%q) = %s, want %s", path, got, want)
		}
		if got, err := Unescape(want); got != path || err != nil {
			t.Errorf("Unescape(%s) = %q, %v, want %q", want, got, err, path)
		}
	}
}

func TestUnescapeFails(t *testing.T) {
	for _, id := range []string{`a\`, `a\x2`, `a\y2d`, `\xzz`, "-a", `\x61`, ""} {
		if got, err := Unescape(id); err == nil || err.Error() != fmt.Sprintf("%q is not an escaped path", id) {
			t.Errorf("Unescape(%s) = %q, %v", id, got, err)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("home/dev")
	f.Add("\xff-\\x2d/.")
	f.Fuzz(func(t *testing.T, name string) {
		path := filepath.Clean("/" + name)
		got, err := Unescape(Escape(path))
		if err != nil || got != path {
			t.Errorf("Unescape(Escape(%q)) = %q, %v", path, got, err)
		}
		if path, err := Unescape(name); err == nil && Escape(path) != name {
			t.Errorf("%q unescapes to %q, which escapes to %q", name, path, Escape(path))
		}
	})
}

// testPaths returns the paths of a user in a temporary directory and creates some.
func testPaths(t *testing.T) Paths {
	root := Physical(t.TempDir())
	p := Paths{Home: filepath.Join(root, "home/me"), Runtime: filepath.Join(root, "run/user/1000"), State: filepath.Join(root, "home/me/.local/state")}
	for _, dir := range []string{p.Home, p.Runtime, filepath.Join(root, "srv/project")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestCheck(t *testing.T) {
	p := testPaths(t)
	root := filepath.Dir(filepath.Dir(p.Home))
	const sockets = ", with the user manager's sockets"
	for path, want := range map[string]string{
		"/":                                "it is the whole file system",
		root:                               "your home directory is in it",
		p.Home:                             "it is your home directory, with your keys in it",
		filepath.Dir(p.Home):               "your home directory is in it",
		filepath.Join(root, "run"):         "your runtime directory" + sockets + ", is in it",
		p.Runtime:                          "it is in your runtime directory" + sockets,
		filepath.Join(p.Runtime, "x"):      "it is in your runtime directory" + sockets,
		filepath.Join(root, "a\nb"):        "its name contains a newline, which is not allowed in a unit file",
		filepath.Join(root, "srv/project"): "",
		filepath.Join(p.Home, "project"):   "",
		p.Home + "2":                       "",
	} {
		err := p.Check(path)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != "refusing to share "+path+" with a VM: "+want) {
			t.Errorf("Check(%q) = %v, want %q", path, err, want)
		}
	}
}

func TestLongDirectoryHasShortID(t *testing.T) {
	p := testPaths(t)
	dir := filepath.Join(p.Home, strings.Repeat("long-", 40), strings.Repeat("directory-", 20))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	id, err := p.ID(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.ID(dir); again != id || err != nil {
		t.Errorf("second time: %s, %v, want %s", again, err, id)
	}
	if len(Virtiofsd.Unit(id)+".d") > 255 {
		t.Errorf("unit name of %d bytes", len(Virtiofsd.Unit(id)))
	}
	path, err := Unescape(id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Resolve(path); got != dir || err != nil {
		t.Errorf("the id resolves to %q, %v, want %q", got, err, dir)
	}
	if got, err := Directory(id); got != dir || err != nil {
		t.Errorf("Directory(%s) = %q, %v, want %q", id, got, err, dir)
	}
}

func TestUnitID(t *testing.T) {
	for name, want := range map[string]string{
		VM.Unit("a-b"): "a-b", Virtiofsd.Unit(`a\x40b`): `a\x40b`, "claude-vm-port-80@a.service": "a", AskPath.Unit("a.b"): "a.b",
		"claude-vm@.service": "", "claude-vmx@a.service": "", "claude-vm@a.timer": "", "other.service": "",
	} {
		if got := UnitID(name); got != want {
			t.Errorf("UnitID(%s) = %q, want %q", name, got, want)
		}
	}
}

// TestUnitFiles: the table has every unit of units/, or one would be installed that
// nothing removes, explains or checks.
func TestUnitFiles(t *testing.T) {
	var want []string
	for _, pattern := range []string{"../../units/*.service", "../../units/*.path", "../../units/*.slice"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			want = append(want, filepath.Base(file))
		}
	}
	got := UnitFiles()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("UnitFiles() mismatch (-units/ +table):\n%s", diff)
	}
}

// TestLimits checks that each unit limits its memory: what a guest can make it use must not be taken from
// another VM, which has the same slice.
func TestLimits(t *testing.T) {
	files, err := filepath.Glob("../../units/*.service")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "\nMemoryMax=") {
			t.Errorf("%s has no MemoryMax=: %v", file, err)
		}
	}
}

func TestIsPassed(t *testing.T) {
	for entry, want := range map[string]bool{
		"TERM=xterm-256color":                              true,
		"TERM_PROGRAM=/odd but harmless":                   true,
		"ANTHROPIC_AUTH_TOKEN=/9j4AAQ":                     true,
		"LANG=de_DE.UTF-8":                                 true,
		"LC_TIME=de_DE.UTF-8":                              true,
		"PATH=/bin":                                        false,
		"ANTHROPIC_API_KEY=sk-ant-1":                       true,
		"ANTHROPIC_BASE_URL=http://127.0.0.1:8080/v1":      true,
		"ANTHROPIC_CUSTOM_HEADERS=X-A: /b":                 true,
		"ANTHROPIC_MODEL=":                                 true,
		"CLAUDE_CODE_MAX_OUTPUT_TOKENS=4096":               true,
		"ANTHROPIC_UNIX_SOCKET=/run/user/1000/claude.sock": false,
		"ANTHROPIC_UNIX_SOCKET=claude.sock":                false,
		"CLAUDE_CODE_SSE_PORT=33123":                       false,
		"CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR=3":        false,
		"CLAUDE_CODE_TMPDIR=/tmp/me":                       false,
		"CLAUDE_CODE_CLIENT_CERT=~/.certs/me.pem":          false,
		"CLAUDE_CODE_SOMETHING_NEW=/home/me/somewhere":     false,
		"CLAUDE_CODE_OTEL_ENDPOINT=unix:/run/otel.sock":    false,
		"TZ=Europe/Berlin":                                 true,
		"TZ=:/usr/share/zoneinfo/Europe/Berlin":            false,
		"CLAUDECODE=1":                                     false,
	} {
		name, value, _ := strings.Cut(entry, "=")
		if got := IsPassed(name, value); got != want {
			t.Errorf("IsPassed(%q, %q) = %v", name, value, got)
		}
	}
}
