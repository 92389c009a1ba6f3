//go:build e2e && machine

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// The tests in this file run in test/machine: systemd-nspawn and the kernel treat a container in another way, for
// example by a second /proc, no controllers of cgroups for users, and no file systems of the network.

// TestMachine runs Claude Code on a disk.
func TestMachine(t *testing.T) {
	if out := sh(t, "/", "systemd-detect-virt --container || true"); out != "none\n" {
		t.Fatalf("this is a container: %s", out)
	}
	p := newProject(t, "disk")
	p.write("file", "old\n")
	p.want(p.ctl("run", ".", "--", "--dangerously-skip-permissions", "-p", "run: sed -i s/old/new/ file && echo done"), "done")
	if got := p.read("file"); got != "new\n" {
		t.Errorf("the file: %q", got)
	}
	p.wantGone()
}

// TestMachineLimits checks that the kernel enforces the limits of the units.
func TestMachineLimits(t *testing.T) {
	p := newProject(t, "limits")
	p.start()
	for _, part := range []*instance.Part{instance.VM, instance.Virtiofsd, instance.Gateway} {
		unit := part.Unit(p.id)
		show := func(name string) string {
			return strings.TrimSpace(p.systemctl("show", "--value", "--property="+name, unit).ok().stdout)
		}
		cgroup := filepath.Join("/sys/fs/cgroup", show("ControlGroup"))
		for file, property := range map[string]string{"memory.max": "MemoryMax", "pids.max": "TasksMax"} {
			got, err := os.ReadFile(filepath.Join(cgroup, file))
			if want := show(property); err != nil || strings.TrimSpace(string(got)) != want || want == "infinity" {
				t.Errorf("%s of %s: %q, %v, want %s", file, unit, got, err, want)
			}
		}
	}
}

// TestMachineNFS works with git on directories of NFS.
func TestMachineNFS(t *testing.T) {
	for _, mount := range []string{"/srv/nfs3", "/srv/nfs4"} {
		t.Run(filepath.Base(mount), func(t *testing.T) {
			p := newProjectAt(t, filepath.Join(mount, "of-"+filepath.Base(mount)))
			if got := sh(t, p.dir, gitSetup+"stat -f -c %T .; git init -q; echo .env >.git/info/exclude; echo secret >.env; echo host >file; git add file; git commit -qm host"); got != "nfs\n" {
				t.Fatalf("file system: %s", got)
			}
			p.vmFile("[Share]\nHide=.env\n")
			p.start()
			got := p.guest(gitSetup + `if cat .env 2>/dev/null; then echo read; fi; if echo x 2>/dev/null >.git/hooks/post-commit; then echo written; fi
				echo guest >>file; mkdir -p d/e; mv d f; ln file f/hard; ln -s file f/soft; printf '#!/bin/sh\necho run\n' >s; chmod +x s; ./s
				python3 -c 'import fcntl; f = open("file", "r+"); fcntl.flock(f, 2); fcntl.lockf(f, 2); print("locked")'
				exec 9<>open; echo text >&9; rm open; cat /proc/self/fd/9; exec 9>&-
				git add . && git commit -qm guest && git gc -q && git status --porcelain && git fsck 2>&1`)
			if got != "run\nlocked\ntext\n" {
				t.Errorf("the guest: %s", got)
			}
			if got := sh(t, p.dir, "git log --format=%s; git status --porcelain; git fsck 2>&1; stat -c %U f s; readlink f/soft; cat f/hard"); got != "guest\nhost\ndev\ndev\nfile\nhost\nguest\n" {
				t.Errorf("the host: %s", got)
			}
			p.ctl("stop", ".").ok()
			p.wantGone()
			if got := sh(t, p.dir, "cat .env; ls -A .git/hooks | grep post-commit || true; find . -name '.nfs*'"); got != "secret\n" {
				t.Errorf("afterwards: %s", got)
			}
		})
	}
}
