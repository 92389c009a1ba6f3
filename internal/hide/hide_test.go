package hide

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	for word, want := range map[string]string{
		"*.pem": "", "config/*.key": "", "**/.env": "", "**/*.pem": "", "*/key": "", "id_?": "", "@secrets": "", "!test.pem": "", "!**/x.pem": "",
		"!*": "", "[a]*": "",
		"@secret": "unknown group", "*": "matches everything", "**": "matches everything", "**/": "matches everything", "**/*": "matches everything", "*/*": "matches everything",
		"!": "empty pattern", "a/**/b": "** is supported only at the start, as **/", "a**": "** is supported only at the start, as **/",
		"**/a/b": "**/ must be followed by a name without /", "!!*a": "a pattern cannot start with !", "!@secrets": "a pattern cannot start with @",
	} {
		got := ""
		if err := Check(word); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
		if !IsPattern(word) {
			t.Errorf("%s is a path", word)
		}
	}
	for _, word := range []string{".env", "a/b", "a@b", "pages/[id].ts"} {
		if IsPattern(word) {
			t.Errorf("%s is a pattern", word)
		}
	}
}

// TestGroups checks that members are valid, and names.
func TestGroups(t *testing.T) {
	if len(Groups["@secrets"]) < 50 {
		t.Fatalf("%d members", len(Groups["@secrets"]))
	}
	for group, members := range Groups {
		for i, member := range members {
			if err := Check(strings.Replace(anywhere+member, anywhere+"!", "!"+anywhere, 1)); err != nil || strings.Contains(member, "/") {
				t.Errorf("%s in %s: %v", member, group, err)
			}
			if slices.Contains(members[:i], member) {
				t.Errorf("%s is twice in %s", member, group)
			}
		}
	}
}

// makeTree creates files. Names that end in / are directories.
func makeTree(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		full := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if target, found := strings.CutPrefix(filepath.Base(name), "link-"); found && err == nil {
			err = os.Symlink("elsewhere", filepath.Join(filepath.Dir(full), target))
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(full, 0o755)
		} else if err == nil {
			err = os.WriteFile(full, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func find(t testing.TB, dir string, words ...string) ([]string, error) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH, 0) // as protect.Open does
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return Compile(words).Find(t.Context(), fd)
}

func TestFind(t *testing.T) {
	tree := []string{
		".env", ".env.local", ".env.example", "a/.env", "a/b/.env.production", "a/prod.env", "environment", "a/link-.env.link",
		"key.pem", "a/cert.pem", "a/certs/cacert.pem", "a/x.pem/inside.pem", "node_modules/m/.env", "node_modules/m/test.pem",
		".git/refs/heads/fix.pem", ".git/secret.key", ".ssh/config", "a/.ssh/id_rsa", "vendor/.npmrc", "src/[id].ts", "src/x1", "src/x12", `src/back\x`, "deep/er/key/file",
	}
	for words, want := range map[string]string{
		"":            "",
		".env a/.env": "", // paths are not patterns
		"@secrets":    ".env .env.local .ssh a/.env a/.env.link a/.ssh a/b/.env.production a/cert.pem a/prod.env a/x.pem key.pem",
		"*.pem":       "a/cert.pem a/certs/cacert.pem a/x.pem key.pem node_modules/m/test.pem",
		"*.pem !a/*.pem !key.pem !a/certs/cacert.pem": "a/x.pem/inside.pem node_modules/m/test.pem",
		"@secrets *.pem !*.pem":                       ".env .env.local .ssh a/.env a/.env.link a/.ssh a/b/.env.production a/prod.env",
		"**/.env":                                     ".env a/.env node_modules/m/.env",
		"a/*.pem":                                     "a/cert.pem a/x.pem",
		"*/.env":                                      "a/.env",
		"*/*/.env":                                    "node_modules/m/.env",
		".git/*.key":                                  ".git/secret.key",
		".g*":                                         ".git",
		"src/x?":                                      "src/x1",
		"src/[i*":                                     "src/[id].ts",
		`src/*\x`:                                     `src/back\x`,
		"de*/e?/k*":                                   "deep/er/key",
		"x*":                                          "a/x.pem src/x1 src/x12",
		"x*.*m":                                       "a/x.pem",
		"gone/*":                                      "",
	} {
		got, err := find(t, makeTree(t, tree...), strings.Fields(words)...)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %q", words, strings.Join(got, " "), err, want)
		}
	}
}

// TestFindLimits checks trees that a guest can make.
func TestFindLimits(t *testing.T) {
	deep := strings.Repeat("d/", maxDepth+5)
	got, err := find(t, makeTree(t, deep+"x.pem", "y.pem"), "*.pem")
	if want := []string{strings.TrimSuffix(deep[:2*(maxDepth+1)], "/"), "y.pem"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("deep: %d levels and %q, %v", strings.Count(got[0], "/"), got[1:], err)
	}
	var many []string
	for i := range MaxFound + 1 {
		many = append(many, fmt.Sprintf("%d.pem", i))
	}
	dir := makeTree(t, many...)
	if _, err := find(t, dir, "*.pem"); err == nil || !strings.HasPrefix(err.Error(), "more than 1000 paths match, such as ") {
		t.Errorf("many: %v", err)
	}
	if got, err := find(t, dir, "*.pem", "!1*.pem"); err != nil || len(got) < 500 {
		t.Errorf("with an exception: %d, %v", len(got), err)
	}
}

// TestFindClosed checks directories that the user cannot search.
func TestFindClosed(t *testing.T) {
	dir := makeTree(t, "closed/x.pem", "closed2/x.pem", "open/")
	for _, name := range []string{"closed", "closed2"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(filepath.Join(dir, name), 0o700)
	}
	if os.Getuid() == 0 { // root can search everything, but not a thread of it that accesses files as nobody
		const nobody = 65534
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	if got, err := find(t, dir, "*.pem"); err != nil || strings.Join(got, " ") != "closed closed2" {
		t.Errorf("closed: %q, %v", got, err)
	}
	if got, err := find(t, dir, "closed2/*"); err != nil || strings.Join(got, " ") != "closed2" {
		t.Errorf("a closed directory that patterns name: %q, %v", got, err)
	}
}

// BenchmarkFind searches a tree of 100,000 files.
func BenchmarkFind(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		sub := filepath.Join(dir, fmt.Sprintf("%d/%d", i%10, i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 100 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file%d.go", j)), nil, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, words := range []string{"@secrets", "*.pem", "a/*.pem"} {
		b.Run(words, func(b *testing.B) {
			for b.Loop() {
				if found, err := find(b, dir, words); err != nil || len(found) > 0 {
					b.Fatal(found, err)
				}
			}
		})
	}
}
