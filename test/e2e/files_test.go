//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	p := newProject(t, "files")
	p.write("edited", "host\n")
	p.write("removed", "")
	p.write("renamed", "")
	p.command("git", "init", "-q", "-b", "main").ok()
	p.start()
	p.guest(`
cd /work
echo guest >> edited
rm removed
mv renamed 'new name'
printf '#!/bin/sh\necho ran\n' > script
chmod 755 script
ln -s edited link
mkdir -p deep/er
timeout 300 python3 - <<END
import mmap
with open("mapped", "wb+") as f: # as linkers do: more than the kernel lets a program change at once
    f.truncate(16 << 20)
    m = mmap.mmap(f.fileno(), 16 << 20)
    for i in range(0, 16 << 20, 4096):
        m[i:i+6] = b"mapped"
END
echo 1 > file
git add file
git -c user.name=Guest -c user.email=guest@example.org commit -q -m 'from the guest'
`)
	p.root("chmod 4755 /work/script; chmod g+s /work/deep")
	for _, name := range []string{"script", "deep"} {
		if info, err := os.Stat(filepath.Join(p.dir, name)); err != nil || info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			t.Errorf("the guest's root has set a setuid or setgid bit: %v, %v", info, err)
		}
	}
	if got := p.read("edited"); got != "host\nguest\n" {
		t.Errorf("edited: %q", got)
	}
	for _, name := range []string{"removed", "renamed"} {
		if _, err := os.Lstat(filepath.Join(p.dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := p.command("./script").ok().stdout; got != "ran\n" {
		t.Errorf("script: %q", got)
	}
	if got, err := os.Readlink(filepath.Join(p.dir, "link")); got != "edited" {
		t.Errorf("link: %q, %v", got, err)
	}
	if got := p.read("mapped"); !strings.HasPrefix(got, "mapped") {
		t.Errorf("mapped: %q", got[:min(len(got), 10)])
	}
	if got := p.command("git", "log", "--format=%s").ok().stdout; got != "from the guest\n" {
		t.Errorf("git log: %q", got)
	}
	p.command("git", "-c", "user.name=Host", "-c", "user.email=host@example.org", "commit", "-q", "--allow-empty", "-m", "from the host").ok()
	// The guest may cache what it has read for one second.
	p.eventually("the guest sees the host's commit", func() bool {
		return p.guest("git log --format=%s") == "from the host\nfrom the guest\n"
	})
	// Programs write paths of the guest into files that the host reads.
	if got := p.guest("pwd; readlink /work"); got != p.dir+"\n"+p.dir+"\n" {
		t.Errorf("the directory in the guest: %s", got)
	}
	p.wantOwned()
	p.guestCannotPlant()
	p.guestRootIsNobody()
	p.onlyTheDirectory(p.dir)
}

// guestCannotPlant checks that the guest cannot write files that make the host's git
// execute commands, not even as root: the host shares them read-only.
func (p *project) guestCannotPlant() {
	p.t.Helper()
	for _, path := range []string{".git/hooks/pre-commit", ".git/config"} {
		r := p.root("mount -o remount,rw /work; echo evil >> /work/" + path)
		if r.status == 0 || !strings.Contains(r.stderr, "Read-only file system") {
			p.t.Errorf("%s: status %d, %s", path, r.status, r.stderr)
		}
	}
	if r := p.root("mv /work/.git /work/other"); r.status == 0 {
		p.t.Error("the guest can move .git away")
	}
}

// guestRootIsNobody checks that the guest's root has no special permissions on the host's
// files.
func (p *project) guestRootIsNobody() {
	p.t.Helper()
	p.root("cd /work; echo x > by-root; chown 0:0 by-root; chown 12345 by-root; mknod device c 1 3; true").ok()
	p.wantOwned()
	if info, err := os.Lstat(filepath.Join(p.dir, "device")); err == nil {
		p.t.Errorf("the guest's root can create a device: %v", info.Mode())
	}
	outside := filepath.Join(filepath.Dir(p.dir), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		p.t.Fatal(err)
	}
	if r := p.root("ln -s ../outside /work/escape; cat /work/escape; cat /work/../outside"); r.status == 0 || strings.Contains(r.stdout, "secret") {
		p.t.Errorf("the guest can read outside the directory: %s", r.stdout)
	}
}

// wantOwned checks that the user owns all files in the work directory.
func (p *project) wantOwned() {
	p.t.Helper()
	err := filepath.Walk(p.dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
			p.t.Errorf("%s belongs to %d", path, info.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	})
	if err != nil {
		p.t.Error(err)
	}
}

// onlyTheDirectory checks that the guest has no files of the host other than these mounts.
func (p *project) onlyTheDirectory(mounts ...string) {
	p.t.Helper()
	r := p.root("ls -d /nix/store " + os.Getenv("XDG_RUNTIME_DIR") + " /var/lib/systemd/linger/dev 2>/dev/null; find " + os.Getenv("HOME") + " -xdev ! -type d;" +
		"awk '$3 == \"virtiofs\" && index($2, \"" + p.dir + "/\") != 1 { print $2 }' /proc/mounts | sort; ls /sys/class/virtio-ports | wc -l").ok()
	// The kernel escapes these characters in /proc/mounts.
	want := strings.NewReplacer(`\`, `\134`, " ", `\040`).Replace(strings.Join(mounts, "\n")) + "\n17\n"
	if r.stdout != want {
		p.t.Errorf("mounts and ports in the guest:\n%s\nwant\n%s", r.stdout, want)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	// scripts/test mounts a small file system there.
	p := newProjectAt(t, "/var/tmp/small/work")
	p.write("precious", "kept")
	p.start()
	r := p.root("dd if=/dev/zero of=/work/big bs=64k count=1000")
	if r.status == 0 || !strings.Contains(r.stderr, "No space left on device") {
		t.Errorf("writing too much: status %d, %s", r.status, r.stderr)
	}
	if got := p.read("precious"); got != "kept" {
		t.Errorf("precious: %q", got)
	}
	p.guest("rm /work/big")
	// virtiofsd keeps the file open until the guest's kernel sends FORGET.
	p.eventually("the file system has space again", func() bool { return p.root("echo again >/work/after").status == 0 })
	if got := p.read("after"); got != "again\n" {
		t.Errorf("after: %q", got)
	}
	p.ctl("stop", ".").ok()
	p.wantGone()
}

// TestManyFiles works with three times as many files as virtiofsd can have open.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	const limit = 2000
	p := newProject(t, "many")
	for _, unit := range []string{instance.VM.Unit(p.id), instance.Virtiofsd.Unit(p.id)} {
		p.dropin(unit, "files.conf", fmt.Sprint("LimitNOFILE=", limit))
	}
	for i := range 3 * limit {
		writeFile(filepath.Join(p.dir, fmt.Sprintf("%02d/%d", i/100, i)), "")
	}
	p.command("git", "init", "-q").ok()
	p.command("git", "add", ".").ok()
	p.ctl("start", ".").ok()
	want := fmt.Sprintln(3 * limit)
	if got := p.guest("find . -path ./.git -prune -o -type f -size 0 -print | wc -l"); got != want {
		t.Errorf("find prints %s files, want %s", got, want)
	}
	if got := p.guest("git status --porcelain | wc -l"); got != want {
		t.Errorf("git status prints %s files, want %s", got, want)
	}
	if got := p.guest(fmt.Sprintf("for i in $(seq %d); do echo >new-$i; done; cat new-* | wc -l", limit)); got != fmt.Sprintln(limit) {
		t.Errorf("%s new files, want %d", got, limit)
	}
	var r struct{ CacheDrops int }
	if err := json.Unmarshal([]byte(p.ctl("status", "--json").ok().stdout), &r); err != nil || r.CacheDrops == 0 {
		t.Errorf("status --json: %d cache drops, %v", r.CacheDrops, err)
	}
	if out := p.ctl("status").ok().stdout; !strings.Contains(out, "    Caches: dropped in the guest ") {
		t.Errorf("status:\n%s", out)
	}
	if !strings.Contains(p.journal(), "dropped the caches, because the guest has too many files of the share open") {
		t.Error("the journal does not mention the caches")
	}
}
