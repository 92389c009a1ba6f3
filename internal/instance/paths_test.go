package instance

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func setenv(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{"HOME", "USER", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"} {
		value, set := variables[name]
		t.Setenv(name, value)
		if !set {
			os.Unsetenv(name)
		}
	}
}

func TestHostPaths(t *testing.T) {
	me, err := user.Current()
	if err != nil || me.HomeDir == "/" || me.HomeDir == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("this user has no home: %v", err)
		}
		t.Skipf("this user has no home: %v", err) // for example in a container without a user database entry
	}
	// The user database may contain extra slashes.
	home := "/" + strings.Trim(me.HomeDir, "/")
	runtime := "/run/user/" + me.Uid
	for name, test := range map[string]struct {
		env  map[string]string
		want Paths // without UID
	}{
		"HOME and USER": {
			env:  map[string]string{"HOME": "/home/me", "USER": "me"},
			want: Paths{Home: "/home/me", User: "me", Runtime: runtime, Config: "/home/me/.config", State: "/home/me/.local/state", Cache: "/home/me/.cache", Data: "/home/me/.local/share"},
		},
		"all": {
			env: map[string]string{
				"HOME": "/home/me", "USER": "me", "XDG_RUNTIME_DIR": "/run/me",
				"XDG_CONFIG_HOME": "/srv/config", "XDG_STATE_HOME": "/srv/state", "XDG_CACHE_HOME": "/srv/cache",
			},
			want: Paths{Home: "/home/me", User: "me", Runtime: "/run/me", Config: "/srv/config", State: "/srv/state", Cache: "/srv/cache", Data: "/home/me/.local/share"},
		},
		"paths are cleaned": {
			env:  map[string]string{"HOME": "//home/me/", "USER": "me", "XDG_RUNTIME_DIR": "/run/./me/", "XDG_CONFIG_HOME": "/srv//config"},
			want: Paths{Home: "/home/me", User: "me", Runtime: "/run/me", Config: "/srv/config", State: "/home/me/.local/state", Cache: "/home/me/.cache", Data: "/home/me/.local/share"},
		},
		"empty and relative paths are ignored": {
			env:  map[string]string{"HOME": "/home/me", "USER": "me", "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "config"},
			want: Paths{Home: "/home/me", User: "me", Runtime: runtime, Config: "/home/me/.config", State: "/home/me/.local/state", Cache: "/home/me/.cache", Data: "/home/me/.local/share"},
		},
		"systemd-homed": {
			env:  map[string]string{"HOME": "/", "USER": "root", "XDG_RUNTIME_DIR": "/run/me"},
			want: Paths{Home: home, User: me.Username, Runtime: "/run/me", Config: home + "/.config", State: home + "/.local/state", Cache: home + "/.cache", Data: home + "/.local/share"},
		},
		"systemd-homed, path not clean": {
			env:  map[string]string{"HOME": "/.//", "XDG_CONFIG_HOME": "/srv/config"},
			want: Paths{Home: home, User: me.Username, Runtime: runtime, Config: "/srv/config", State: home + "/.local/state", Cache: home + "/.cache", Data: home + "/.local/share"},
		},
		"no home": {
			want: Paths{Home: home, User: me.Username, Runtime: runtime, Config: home + "/.config", State: home + "/.local/state", Cache: home + "/.cache", Data: home + "/.local/share"},
		},
		"a relative home": {
			env:  map[string]string{"HOME": "home"},
			want: Paths{Home: home, User: me.Username, Runtime: runtime, Config: home + "/.config", State: home + "/.local/state", Cache: home + "/.cache", Data: home + "/.local/share"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, test.env)
			got, err := HostPaths()
			test.want.UID = me.Uid
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("HostPaths() mismatch (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestLookupFails(t *testing.T) {
	uid := uint32(4294967294) // the maximum: 4294967295 is (uid_t) -1
	for {
		if _, err := user.LookupId(fmt.Sprint(uid)); err != nil {
			break
		}
		uid--
	}
	if name, home, err := lookup(fmt.Sprint(uid)); err == nil || err.Error() != fmt.Sprintf("getent passwd %d: exit status 2", uid) {
		t.Errorf("lookup() = %s, %s, %v", name, home, err)
	}
	// The entry of a user may have no home directory.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte("#!/bin/sh\necho me:x:1:1::none:/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if name, home, err := lookup(fmt.Sprint(uid)); err == nil || err.Error() != fmt.Sprintf("getent passwd %d returns no home directory", uid) {
		t.Errorf("lookup() = %s, %s, %v", name, home, err)
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
		if got := Physical(filepath.Join(root, name)); got != filepath.Join(root, want) {
			t.Errorf("Physical(%s) = %s, want %s", name, got, want)
		}
	}
}
