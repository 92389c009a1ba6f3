package vmfile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func setenv(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{"HOME", "USER", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"} {
		value, set := variables[name]
		t.Setenv(name, value)
		if !set {
			os.Unsetenv(name)
		}
	}
}

func TestEnvironment(t *testing.T) {
	me, err := user.Current()
	if err != nil || me.HomeDir == "/" || me.HomeDir == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("this user has no home: %v", err)
		}
		t.Skipf("this user has no home: %v", err) // one of a container's, which no database knows
	}
	// In the database the home of a user may be written otherwise.
	home := "/" + strings.Trim(me.HomeDir, "/")
	runtime := "/run/user/" + me.Uid
	for name, test := range map[string]struct {
		env  map[string]string
		want map[byte]string // but for the number of the user
	}{
		"the least": {
			env:  map[string]string{"HOME": "/home/me", "USER": "me"},
			want: map[byte]string{'h': "/home/me", 'u': "me", 't': runtime, 'E': "/home/me/.config", 'S': "/home/me/.local/state", 'C': "/home/me/.cache"},
		},
		"all": {
			env: map[string]string{
				"HOME": "/home/me", "USER": "me", "XDG_RUNTIME_DIR": "/run/me",
				"XDG_CONFIG_HOME": "/srv/config", "XDG_STATE_HOME": "/srv/state", "XDG_CACHE_HOME": "/srv/cache",
			},
			want: map[byte]string{'h': "/home/me", 'u': "me", 't': "/run/me", 'E': "/srv/config", 'S': "/srv/state", 'C': "/srv/cache"},
		},
		"paths are cleaned": {
			env:  map[string]string{"HOME": "//home/me/", "USER": "me", "XDG_RUNTIME_DIR": "/run/./me/", "XDG_CONFIG_HOME": "/srv//config"},
			want: map[byte]string{'h': "/home/me", 'u': "me", 't': "/run/me", 'E': "/srv/config", 'S': "/home/me/.local/state", 'C': "/home/me/.cache"},
		},
		"empty and relative ones do not count": {
			env:  map[string]string{"HOME": "/home/me", "USER": "me", "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "config"},
			want: map[byte]string{'h': "/home/me", 'u': "me", 't': runtime, 'E': "/home/me/.config", 'S': "/home/me/.local/state", 'C': "/home/me/.cache"},
		},
		"systemd-homed": {
			env:  map[string]string{"HOME": "/", "USER": "root", "XDG_RUNTIME_DIR": "/run/me"},
			want: map[byte]string{'h': home, 'u': me.Username, 't': "/run/me", 'E': home + "/.config", 'S': home + "/.local/state", 'C': home + "/.cache"},
		},
		"another way to write it": {
			env:  map[string]string{"HOME": "/.//", "XDG_CONFIG_HOME": "/srv/config"},
			want: map[byte]string{'h': home, 'u': me.Username, 't': runtime, 'E': "/srv/config", 'S': home + "/.local/state", 'C': home + "/.cache"},
		},
		"no home": {
			want: map[byte]string{'h': home, 'u': me.Username, 't': runtime, 'E': home + "/.config", 'S': home + "/.local/state", 'C': home + "/.cache"},
		},
		"a relative home": {
			env:  map[string]string{"HOME": "home"},
			want: map[byte]string{'h': home, 'u': me.Username, 't': runtime, 'E': home + "/.config", 'S': home + "/.local/state", 'C': home + "/.cache"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, test.env)
			got, err := Environment()
			want := Specifiers{'U': me.Uid}
			maps.Copy(want, test.want)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("Environment() mismatch (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestLookupFails(t *testing.T) {
	uid := uint32(4294967294) // the greatest number that a user can have
	for {
		if _, err := user.LookupId(fmt.Sprint(uid)); err != nil {
			break
		}
		uid--
	}
	if name, home, err := lookup(fmt.Sprint(uid)); err == nil || err.Error() != fmt.Sprintf("getent passwd %d: exit status 2", uid) {
		t.Errorf("lookup() = %s, %s, %v", name, home, err)
	}
	// A user of the databases may have no home there.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte("#!/bin/sh\necho me:x:1:1::none:/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if name, home, err := lookup(fmt.Sprint(uid)); err == nil || err.Error() != fmt.Sprintf("getent passwd %d gives none", uid) {
		t.Errorf("lookup() = %s, %s, %v", name, home, err)
	}
}

func TestInstances(t *testing.T) {
	got := Specifiers{'h': "/home/me", 't': "/run/me", 'S': "/srv/state"}.Instances()
	if got.Home != "/home/me" || got.RuntimeDir != "/run/me" || got.StateDir != "/srv/state/claude-vm" {
		t.Errorf("Instances() = %+v", got)
	}
}

func TestExpand(t *testing.T) {
	s := Specifiers{'h': "/home/%u/me", 'u': "me", 'U': "1000"}
	for value, want := range map[string]string{
		"":          "",
		"plain":     "plain",
		"%h/a":      "/home/%u/me/a", // once
		"%%h":       "%h",
		"%%%h%%":    "%/home/%u/me%",
		"%u%U%N":    "me1000web.x",
		"é%%é":      "é%é",
		"$HOME %%i": "$HOME %i",
	} {
		if got, err := s.expand(value, "web.x"); got != want || err != nil {
			t.Errorf("expand(%q) = %q, %v, want %q", value, got, err, want)
		}
	}
	for value, want := range map[string]string{
		"%":    "unknown specifier %",
		"a%":   "unknown specifier %",
		"%%%":  "unknown specifier %",
		"%i":   "unknown specifier %i",
		"%H%h": "unknown specifier %H",
		"%é":   "unknown specifier %é",
		"% ":   "unknown specifier % ",
		"%C":   "unknown specifier %C", // nothing is known for it
	} {
		if got, err := s.expand(value, "web"); err == nil || err.Error() != want {
			t.Errorf("expand(%q) = %q, %v, want %s", value, got, err, want)
		}
	}
}

func TestPhysical(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "real/web"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("real", filepath.Join(root, "link")), os.Symlink("gone", filepath.Join(root, "dangling"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"real/web": "real/web", "link": "real", "link/web": "real/web",
		"real/later/on": "real/later/on", "link/later/on": "real/later/on", "dangling": "dangling",
	} {
		if got := physical(filepath.Join(root, name)); got != filepath.Join(root, want) {
			t.Errorf("physical(%s) = %s, want %s", name, got, want)
		}
	}
}
