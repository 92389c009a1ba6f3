package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddUsers(t *testing.T) {
	dir := t.TempDir() // a home directory that exists
	const root = "root:x:0:0:root:/root:/bin/sh\n"
	for name, test := range map[string]struct {
		has, want users
		home      string
	}{
		"nothing": {
			users{}, users{
				root + "claude:x:1000:1000::/home/claude:/bin/sh\n",
				"root:x:0:\nclaude:x:1000:\n", "claude:*:::::::\n",
			}, claudeHome,
		},
		"a user with a home directory": {
			users{root + "node:x:1000:1000::" + dir + ":/bin/bash\n", "root:x:0:\nnode:x:1000:\n", "node:!:1::::::\n"},
			users{root + "node:x:1000:1000::" + dir + ":/bin/bash\n", "root:x:0:\nnode:x:1000:\n", "node:!:1::::::\n"}, dir,
		},
		"a user without one, and no newline at the end": {
			users{root + "app:x:1000:100::/:/sbin/nologin", "root:x:0:\nusers:x:100:", "app:!:1::::::"},
			users{"app:x:1000:1000::/home/claude:/bin/sh\n" + root + "app:x:1000:100::/:/sbin/nologin", "root:x:0:\nusers:x:100:\nclaude:x:1000:\n", "app:!:1::::::"}, claudeHome,
		},
		"the name claude is taken": {
			users{root + "claude:x:500:500::/srv/claude:/bin/sh\n", "root:x:0:\nclaude:x:500:\n", ""},
			users{root + "claude:x:500:500::/srv/claude:/bin/sh\nclaude-vm:x:1000:1000::/home/claude:/bin/sh\n", "root:x:0:\nclaude:x:500:\nclaude-vm:x:1000:\n", "claude-vm:*:::::::\n"}, claudeHome,
		},
		"lines that are not valid": {
			users{"x\n:::\n1000\n", "", ""},
			users{"x\n:::\n1000\n" + root + "claude:x:1000:1000::/home/claude:/bin/sh\n", "root:x:0:\nclaude:x:1000:\n", "claude:*:::::::\n"}, claudeHome,
		},
	} {
		got := test.has
		if home := got.add(); home != test.home {
			t.Errorf("%s: home %s, want %s", name, home, test.home)
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(users{})); diff != "" {
			t.Errorf("%s: mismatch (-want +got):\n%s", name, diff)
		}
	}
}

// TestRootPath checks that the guest's own programs come last in an image.
func TestRootPath(t *testing.T) {
	t.Setenv("PATH", "/a")
	if got := (*root)(nil).path(); got != "/a" {
		t.Errorf("without an image: %s", got)
	}
	if got := (&root{variables: []string{"A=b", "PATH=/b:/c"}}).path(); got != "/b:/c:"+toolsDir {
		t.Errorf("PATH of an image: %s", got)
	}
	if got := (&root{variables: []string{"PATH="}}).path(); !strings.HasPrefix(got, "/usr/local/sbin:") {
		t.Errorf("an image without PATH: %s", got)
	}
}

func TestIsELF(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if !isELF(self) || isELF("image_test.go") || isELF("/") || isELF("/nowhere") {
		t.Error("isELF() is wrong")
	}
}
