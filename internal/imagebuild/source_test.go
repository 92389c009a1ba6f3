package imagebuild

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestDevcontainer(t *testing.T) {
	for text, want := range map[string]string{
		`{"image": "node:22"}`: "node:22",
		"// a comment\n{ /* \"image\": \"no\" */ \"image\": \"registry.example.org/devcontainers/base:trixie\", // why\n\t\"features\": {\"a\": [1, 2,], }, /**/\n}\n": "registry.example.org/devcontainers/base:trixie",
		`{"name": "a // \" b, }", "image": "a/b@sha256:` + strings.Repeat("0", 64) + `",}`:                                                                             "a/b@sha256:" + strings.Repeat("0", 64),
		`{"image": "docker-daemon:secret:latest"}`: `FILE: "docker-daemon:secret:latest" is not the name of an image`,
		`{"image": "--authfile=x"}`:                `FILE: "--authfile=x" is not the name of an image`,
		`{"image": "../../etc"}`:                   `FILE: "../../etc" is not the name of an image`,
		`{"image": "${localEnv:HOME}"}`:            `FILE: "${localEnv:HOME}" is not the name of an image`,
		`{"image": "a\nb"}`:                        `FILE: "a\nb" is not the name of an image`,
		`{"image": ["a"]}`:                         "FILE: invalid JSON: json: cannot unmarshal array into Go struct field .image of type string",
		`{"build": {"dockerfile": "Dockerfile"}}`:  "FILE: names no image, but a Dockerfile, which is not built",
		`{}`:               "FILE: names no image",
		`{"image": "node"`: "FILE: invalid JSON: unexpected end of JSON input",
		`{"image": "node`:  "FILE: invalid JSON: unexpected end of JSON input",
		`/*`:               "FILE: invalid JSON: unexpected end of JSON input",
		"{\"image\": \"node\"}" + strings.Repeat(" ", maxDevcontainer): "FILE: not a file of at most 1 MiB",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, ".devcontainer.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Devcontainer(dir)
		if err != nil {
			got = strings.ReplaceAll(err.Error(), file, "FILE")
		}
		if got != want {
			t.Errorf("%.80s: %s, want %s", text, got, want)
		}
	}
}

// TestDevcontainerFile checks what the guest may have put in place of the file.
func TestDevcontainerFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, ".devcontainer.json")
	check := func(want string) {
		t.Helper()
		if _, err := Devcontainer(dir); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		os.Remove(file)
	}
	check(dir + " has no .devcontainer/devcontainer.json")
	os.Symlink("/etc/passwd", file)
	check(file + ": a symbolic link")
	unix.Mkfifo(file, 0o600)
	check(file + ": not a file of at most 1 MiB")
	os.Mkdir(file, 0o700)
	check(file + ": not a file of at most 1 MiB")
}

func TestReference(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	os.Mkdir("layout", 0o755)
	os.WriteFile("text", []byte("no archive"), 0o600)
	for from, want := range map[string]string{
		"node:22": "docker://node:22", "debian": "docker://debian", "registry.example.org/a/b-c:v1.2": "docker://registry.example.org/a/b-c:v1.2",
		"localhost:5000/a": "docker://localhost:5000/a", "docker://node": "docker://node", "containers-storage:localhost/a": "containers-storage:localhost/a",
		"layout": "oci:layout", dir + "/layout": "oci:" + dir + "/layout",
		"text":    "text is not an archive of an image, which oci-layout or manifest.json shows",
		"./none":  `"./none" is neither the name of an image nor a file or directory`,
		"--help":  `"--help" is neither the name of an image nor a file or directory`,
		"Node:22": `"Node:22" is neither the name of an image nor a file or directory`,
		"":        `"" is neither the name of an image nor a file or directory`,
		"a\nb":    `"a\nb" is not the name of an image`,
	} {
		got, err := Reference(from)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Reference(%q): %s, want %s", from, got, want)
		}
	}
}

func TestReadSource(t *testing.T) {
	dir := t.TempDir()
	blob := strings.Repeat("a", 64)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string) {
		t.Helper()
		if _, err := readSource(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	write("manifest.json", `{"config": {"digest": "sha256:../../../etc/passwd"}}`)
	check(`invalid digest: "sha256:../../../etc/passwd"`)
	write("manifest.json", `{"config": {"digest": "sha256:`+blob+`"}, "layers": [{"digest": "sha256:`+strings.Repeat("b", 64)+`"}]}`)
	write(blob, `{"architecture": "pdp11", "os": "linux"}`)
	check(`the image is for "linux" on "pdp11", this machine needs linux on `)
	write(blob, `{"architecture": "amd64", "os": "linux", "config": {"Env": ["A=`+strings.Repeat("x", maxEnvironment)+`"]}}`)
	if want := "larger than 64 KiB"; arch == "amd64" {
		check(want)
	}
	write(blob, `{"architecture": "`+arch+`", "os": "linux", "config": {"User": "x", "Env": ["PATH=/a:/b", "A=1 = 2", "none", "=x", "B=a\nb", "C D=1", "E="]}}`)
	s, err := readSource(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"PATH=/a:/b", "A=1 = 2", "E="}, s.environment); diff != "" {
		t.Errorf("variables mismatch (-want +got):\n%s", diff)
	}
}

const arch = runtime.GOARCH
