//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// scratch returns the disk space that the VM's scratch disk takes on the host, in MiB.
func (p *project) scratch() int {
	p.t.Helper()
	var r struct{ ScratchCurrent, ScratchLimit int }
	if err := json.Unmarshal([]byte(p.ctl("status", "--json").ok().stdout), &r); err != nil {
		p.t.Fatal(err)
	}
	if r.ScratchLimit <= 0 || r.ScratchLimit > 2*16<<30 {
		p.t.Errorf("the scratch disk has %d bytes", r.ScratchLimit)
	}
	return r.ScratchCurrent >> 20
}

// wantScratchDir waits for the file system that the agent makes on the scratch disk while Claude starts.
func (p *project) wantScratchDir() {
	p.t.Helper()
	p.eventually("the guest has a file system on the scratch disk", func() bool {
		return p.ctl("shell", ".", "--", "grep", "-q", " /scratch ext4 rw,.*noatime,discard", "/proc/mounts").status == 0
	})
}

// wantNoScratchFiles checks that no file of a scratch disk has a name.
func (p *project) wantNoScratchFiles() {
	p.t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		p.t.Fatal(err)
	}
	if got := names(p, filepath.Join(home, ".cache/claude-vm/scratch")); got != "" {
		p.t.Errorf("files of scratch disks: %s", got)
	}
}

// TestRoom checks that a guest with 1 GB of memory has room for more, and that the host gets its
// disk back when the guest frees it. The file has no name, so nothing can be left of it.
func TestRoom(t *testing.T) {
	t.Parallel()
	p := newProject(t, "room")
	p.start()
	// More than the memory that is left. Pages of zeroes would not be written to the disk.
	sum := strings.TrimSpace(p.guest("head -c 850M /dev/urandom | tee ~/random | md5sum"))
	full := p.scratch()
	if full < 50 {
		t.Errorf("the scratch disk takes %d MiB of disk", full)
	}
	if got := strings.TrimSpace(p.guest("md5sum <~/random; rm ~/random")); got != sum {
		t.Errorf("the guest reads other data than it has written: %s, %s", got, sum)
	}
	p.eventually("the host has its disk back", func() bool { return p.scratch() < full/2 })

	// A file that is larger than the memory and that a tmpfs could not make at once.
	p.wantScratchDir()
	p.guest("fallocate -l 6G /scratch/large && head -c 300M /dev/urandom >/scratch/random; sync")
	if got := p.guest("stat -c %s,%b,%U /scratch/large"); !strings.HasPrefix(got, "6442450944,1258") || !strings.HasSuffix(got, ",claude\n") {
		t.Errorf("stat of a file of 6 GB: %s", got)
	}
	full = p.scratch()
	if full < 300 || full > 1000 {
		t.Errorf("the scratch disk takes %d MiB of disk for 300 MB", full)
	}
	p.guest("rm /scratch/*; sync")
	p.eventually("the host has its disk back", func() bool { return p.scratch() < full/2 })
	p.wantNoScratchFiles()

	// At the end, nothing of it is written that nobody needs.
	p.guest("head -c 100M /dev/zero >/scratch/late")
	p.ctl("stop").ok()
	if journal := p.journal(); !strings.Contains(journal, "EXT4-fs (vdb2): shut down requested") {
		t.Error("the guest has written to a disk that is discarded")
	}
}

// TestFullScratch checks that a guest gets an error, and does not hang, when the disk of the host
// is full.
func TestFullScratch(t *testing.T) {
	t.Parallel()
	p := newProject(t, "full")
	p.dropin(instance.Scratch.Unit(p.id), "small.conf", "TemporaryFileSystem=/srv:size=256m,mode=1777", "CacheDirectory=", "Environment=CACHE_DIRECTORY=/srv")
	p.start()
	if got := p.guest("df --output=size -m / | tail -n 1 | tr -d ' '"); len(got) != len("740\n") {
		t.Errorf("the root file system has %s MB, although the host has only 256 MB", got)
	}
	// Now the disk gets full.
	if err := os.WriteFile(filepath.Join(p.rootOf(instance.Scratch.Unit(p.id)), "srv/filler"), make([]byte, 250<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ctl("shell", ".", "--", "sh", "-c", "yes | head -c 800M >~/random")
	p.eventually("the error is in the journal", func() bool {
		return strings.Contains(p.journal(), "the guest cannot use more of its scratch disk: no space left on device")
	})
	// Either the guest still answers, or it has reported why it stopped.
	if r := p.ctl("shell", ".", "--", "sh", "-c", "rm -f ~/random; echo alive"); r.stdout != "alive\n" {
		p.eventually("the VM stops", func() bool { return p.property("ActiveState") != "active" })
		if journal := p.journal(); !strings.Contains(journal, "Out of memory: Killed process") {
			t.Errorf("no reason in the journal")
		}
	}
}

// TestContainers checks that Claude can install a package from Debian's archive, of which the
// Internet of the tests has a part, and run containers, as the user and as root.
func TestContainers(t *testing.T) {
	t.Parallel()
	p := newProject(t, "containers")
	p.start()
	// The indexes may be older than they are valid.
	p.guest(`echo 'Acquire::Check-Valid-Until "false";' | sudo tee /etc/apt/apt.conf.d/99test
		sudo apt-get install -qq -y podman
		mkdir -p root/bin root/lib root/lib64 && cp /bin/busybox root/bin && ln -s busybox root/bin/sh
		cp -L $(ldd /bin/busybox | grep -o '/lib[^ ]*') root/lib && mv root/lib/ld-* root/lib64 && tar -C root -cf image.tar .`)
	for _, as := range []string{"", "sudo "} {
		got := p.guest(as + `podman import -q image.tar box >/dev/null
			` + as + `podman run --rm --volume "$PWD:/mnt" box sh -c 'busybox id -u; busybox touch /new; busybox wget -q -O - http://example.com/; busybox ls /mnt/image.tar'`)
		if want := "0\nexample.com at 93.184.216.34:80\n/mnt/image.tar\n"; got != want {
			t.Errorf("%spodman run: %q, want %q", as, got, want)
		}
		if got := p.guest(as + "podman info --format '{{.Store.GraphDriverName}} {{.Store.GraphStatus}}'"); !strings.HasPrefix(got, "overlay ") || !strings.Contains(got, "Backing Filesystem:tmpfs Native Overlay Diff:true") {
			t.Errorf("%spodman info: %s", as, got)
		}
	}
}
