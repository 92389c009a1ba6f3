package step

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// units maps the names of units to their environment.
type units map[string]map[string]string

func (u units) ServiceEnvironment(_ context.Context, unit string) (map[string]string, error) {
	return u[unit], nil
}

// TestSettings checks the way from the environment of the units to the begin message.
func TestSettings(t *testing.T) {
	session := contract.Session{Arguments: []string{"-p", "x"}, Terminal: true, Environment: map[string]string{"A": "the caller's"}}
	for name, c := range map[string]struct {
		vm, setup map[string]string
		want      contract.Begin
	}{
		"nothing": {
			want: contract.Begin{Session: session},
		},
		"defaults by name": {
			setup: map[string]string{"CLAUDE_TERMINAL": "auto", "CLAUDE_HOME": "ephemeral"},
			want:  contract.Begin{Session: session},
		},
		"all": {
			setup: map[string]string{
				"CLAUDE_ARGUMENTS": `--model "a b"`, "CLAUDE_ENVIRONMENT": `A=2 "B=x y=z"`, "CLAUDE_TERMINAL": "yes",
				"CLAUDE_HOME": "project", "MOUNTS": `"/x y:/a b" /srv/x:/c/./d/:ro`, "FORWARD_AGENT": "yes",
			},
			// A drop-in that the user has written for the VM's unit.
			vm: map[string]string{"CLAUDE_TERMINAL": "no"},
			want: contract.Begin{
				Session: contract.Session{
					Arguments:   []string{"--model", "a b", "-p", "x"},
					Environment: map[string]string{"A": "2", "B": "x y=z"},
				},
				Mounts: []contract.Mount{{Name: "rw0", Path: "/a b"}, {Name: "ro1", Path: "/c/d"}},
				Home:   true, ForwardAgent: true,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := units{instance.VM.Unit("x"): c.vm, instance.Setup.Unit("x"): c.setup}
			settings, err := Settings(t.Context(), m, "x", "/work")
			if err != nil {
				t.Fatal(err)
			}
			got := contract.Begin{Session: session}
			got.Environment = maps.Clone(session.Environment)
			applySettings(&got, settings)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("applySettings() mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadSettings(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "settings")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got, err := readSettings(""); got != nil || err != nil {
		t.Errorf("without a path: %s, %v", got, err)
	}
	if got, err := readSettings(file("{\n}")); !json.Valid(got) || err != nil {
		t.Errorf("an object: %s, %v", got, err)
	}
	for text, want := range map[string]string{
		"":     "not a JSON object: unexpected end of JSON input",
		"[]":   "not a JSON object: array",
		"null": "not a JSON object: null",
		"{} x": "not a JSON object: invalid character 'x' after top-level value",
		`{"a":"` + strings.Repeat("x", maxSettings) + `"}`: "larger than 1 MiB",
	} {
		if _, err := readSettings(file(text)); err == nil || err.Error() != "SettingsFile="+dir+"/settings: "+want {
			t.Errorf("%.10q: %v, want %q", text, err, want)
		}
	}
	for path, want := range map[string]string{dir: "not a file", dir + "/none": "no such file or directory"} {
		if _, err := readSettings(path); err == nil || err.Error() != "SettingsFile="+path+": "+want {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestMountSource(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	paths := instance.Paths{Home: root + "/home/me", Runtime: root + "/run", State: root + "/home/me/state"}
	for _, dir := range []string{paths.Home, paths.Runtime, root + "/srv"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(root+"/srv", root+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{root + "/srv/file", root + "/run/bus"} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"/srv": "/srv", "/link": "/srv", "/link/file": "/srv/file"} {
		if got, err := mountSource(paths, root+path); got != root+want || err != nil {
			t.Errorf("%s: %s, %v, want %s", path, got, err, want)
		}
	}
	for path, want := range map[string]string{
		"srv": "not an absolute path", root + "/none": "no such file or directory", "/dev/null": "neither a directory nor a file",
		paths.Home:        "refusing to share " + paths.Home + " with a VM: it is your home directory, with your keys in it",
		root:              "refusing to share " + root + " with a VM: your home directory is in it",
		root + "/run/bus": "refusing to share " + root + "/run/bus with a VM: it is in your runtime directory, with the user manager's sockets",
	} {
		if _, err := mountSource(paths, path); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	_, err = workDirectory(paths, root+"/link", "")
	if want := fmt.Sprintf("121: %s/link is or contains a symbolic link; the name of the unit must contain the real path; hint: claude-vm-ctl start %[1]s/srv", root); err == nil || describe(err) != want {
		t.Errorf("a link: %v, want %q", err, want)
	}
	_, err = workDirectory(paths, root+"/none", "")
	if want := root + "/none: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("nothing: %v, want %q", err, want)
	}
}

func TestWorkDirectoryMakesShortLink(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	paths := instance.Paths{Home: root + "/home", Runtime: root + "/run", State: root + "/state"}
	long := filepath.Join(root, strings.Repeat("long-", 40), strings.Repeat("long-", 40))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	id, err := paths.ID(long)
	if err != nil {
		t.Fatal(err)
	}
	link, err := instance.Unescape(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(paths.StateFiles()); err != nil {
		t.Fatal(err)
	}
	if _, err := workDirectory(paths, link, ""); err == nil {
		t.Error("a missing link was accepted")
	}
	if got, err := workDirectory(paths, link, long); got != long || err != nil {
		t.Errorf("workDirectory() = %s, %v, want %s", got, err, long)
	}
	if _, err := workDirectory(paths, filepath.Join(paths.StateFiles(), "other"), long); err == nil {
		t.Error("a link with another name was accepted")
	}
}
