//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
)

// resumes lets the VM resume, unlike other tests. The number of processors gives each test snapshots of its
// own.
func (p *project) resumes(cpus int) {
	p.t.Helper()
	p.dropin(p.unit(), vmFile, fmt.Sprintf("Environment=RESUME=yes CPUS=%d", cpus))
}

func snapshots(t testing.TB) snapshot.Store {
	t.Helper()
	paths, err := instance.HostPaths()
	if err != nil {
		t.Fatal(err)
	}
	return paths.Snapshots()
}

// resumedFrom returns the key of the snapshot from which the VM has resumed; empty if it has booted.
func (p *project) resumedFrom() string {
	p.t.Helper()
	var r struct{ Snapshot string }
	if err := json.Unmarshal([]byte(p.ctl("status", "--json").ok().stdout), &r); err != nil {
		p.t.Fatal(err)
	}
	return r.Snapshot
}

// makesSnapshot makes a snapshot for the VM and returns its key.
func (p *project) makesSnapshot() string {
	p.t.Helper()
	return strings.TrimSpace(p.ctl("snapshot", "make").ok().stdout)
}

// identity returns what a resumed guest must not share with another one.
func (p *project) identity() map[string]string {
	p.t.Helper()
	got := map[string]string{}
	for i, value := range strings.Fields(p.guest("head -c 16 /dev/urandom | md5sum | head -c 32; echo; cat /etc/machine-id /proc/sys/kernel/random/uuid; hostname")) {
		got[[]string{"random", "machine ID", "UUID", "host name"}[i]] = value
	}
	return got
}

// TestResume runs its parts one after the other: a start makes no snapshot while another one is being made.
func TestResume(t *testing.T) {
	t.Parallel()
	t.Run("two", resumeTwo)
	t.Run("damaged", resumeDamaged)
}

// resumeTwo checks that the first start makes a snapshot, and that two VMs at once resume from it and have
// what a VM that has booted has.
func resumeTwo(t *testing.T) {
	store := snapshots(t)
	p, q := newProject(t, "first"), newProject(t, "second")
	for _, v := range []*project{p, q} {
		v.resumes(2)
		v.write("name", v.id)
	}
	p.start()
	if got := p.resumedFrom(); got != "" {
		t.Fatalf("the first start has resumed from %s", got)
	}
	p.ctl("stop").ok()
	p.eventually("the snapshot is there", func() bool { return len(store.List()) > 0 })
	key := store.List()[0].Key
	if got := p.makesSnapshot(); got != key || p.ctl("snapshot", "list").ok().stdout == "" {
		t.Errorf("snapshot make prints %s, want %s, which is there", got, key)
	}
	if info, err := store.Read(key); err != nil || info.CPUs != 2 || info.Memory != 1<<30 {
		t.Fatalf("the snapshot of the start is %+v, %v", info, err)
	}
	port := freePort(t)
	other := q.spawn("", "claude-vm-ctl", "start", "--publish", fmt.Sprintf("%d:7007", port), ".")
	p.start()
	other.wait().ok()
	first, second := p.identity(), q.identity()
	for what, value := range first {
		if len(first) != 4 || value == "" || second[what] == value {
			t.Errorf("two VMs have the %s %q", what, value)
		}
	}
	for _, v := range []*project{p, q} {
		if got := v.resumedFrom(); got != key {
			t.Errorf("%s has resumed from %q, want %q", v.id, got, key)
		}
		v.wantWorking()
	}
	q.root("systemd-run --quiet sh -c 'while printf hello | busybox nc -l -p 7007; do :; done'")
	q.eventually("the published port works", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		text, _ := io.ReadAll(conn)
		return string(text) == "hello"
	})
	if err := os.Chmod(store.Memory(key), 0o600); err != nil { // QEMU could do that, too, if the mount were not read-only
		t.Error(err)
	}
	if _, err := os.OpenFile(filepath.Join(p.rootOf(p.unit()), "tmp/snapshot"), os.O_WRONLY, 0); !errors.Is(err, syscall.EROFS) {
		t.Errorf("QEMU can write the snapshot: %v", err)
	}
	for _, v := range []*project{p, q} {
		v.ctl("stop").ok()
		v.wantGone()
	}
	p.wantUnlike(key, first, second)
}

// wantWorking checks that a VM that has resumed has the right directory, clock, network and scratch disk.
func (p *project) wantWorking() {
	p.t.Helper()
	before := time.Now()
	clock, err := strconv.ParseFloat(strings.TrimSpace(p.guest("date +%s.%N")), 64)
	if at := time.UnixMicro(int64(clock * 1e6)); err != nil || at.Before(before.Add(-2*time.Second)) || at.After(time.Now().Add(2*time.Second)) {
		p.t.Errorf("the guest's clock is %v, the host's was %v before: %v", at, before, err)
	}
	if got := p.guest("cat name; touch made"); got != p.id {
		p.t.Errorf("the guest has the directory of %q, want %q", got, p.id)
	}
	p.read("made")
	if got := p.guest("curl -sS http://example.com/"); got != "example.com at 93.184.216.34:80\n" {
		p.t.Errorf("from the network: %q", got)
	}
	// 16 GB, not the size of the template's.
	if got := strings.Fields(p.guest("tail -n 1 /proc/swaps")); len(got) < 3 || len(got[2]) < len("10000000") {
		p.t.Errorf("the scratch disk: %q", got)
	}
	got := p.root(`set -e; head -c 64M /dev/urandom >/random; before=$(md5sum </random)
		echo 48M >/sys/fs/cgroup/system.slice/memory.reclaim || :
		tail -n 1 /proc/swaps | { read -r _ _ _ used _; [ "$used" -gt 0 ]; }; [ "$before" = "$(md5sum </random)" ]; rm /random`)
	if got.status != 0 {
		p.t.Errorf("swapping to the scratch disk: status %d, %q, %s", got.status, got.stdout, got.stderr)
	}
}

// resumeDamaged checks that a VM boots, as part of the same start, if its snapshot is damaged.
func resumeDamaged(t *testing.T) {
	store := snapshots(t)
	p := newProject(t, "work")
	p.resumes(3)
	p.failsToSave()
	key := p.makesSnapshot()
	if left := names(p, string(store)); strings.Contains(left, ".") {
		t.Errorf("left beside the snapshots: %s", left)
	}
	// Setup notices this one.
	if err := os.Chmod(store.Memory(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(store.Memory(key), 50<<20); err != nil {
		t.Fatal(err)
	}
	want := pinned(t) + " (Claude Code)\n"
	p.wantBoots(key, want, "it has 52428800 bytes instead of ")
	// For QEMU, this one looks like a file of another version.
	p.makesSnapshot() // or waits until the start above has made it
	p.plant(store, key, "QEVM, and nothing else")
	p.wantBoots(key, want, "load of migration failed")
	if !store.IsBad(key) {
		t.Error("the snapshot with which resuming has failed will be made again")
	}
	p.wantGone()
}

// plant makes a snapshot with this content.
func (p *project) plant(store snapshot.Store, key, text string) {
	p.t.Helper()
	lock, err := store.Begin(key)
	if err != nil {
		p.t.Fatal(err)
	}
	defer lock.Close()
	if err := errors.Join(store.Remove(key), os.WriteFile(store.NewMemory(key), []byte(text), 0o600), store.Commit(key, snapshot.Spec{Guest: "planted"})); err != nil {
		p.t.Fatal(err)
	}
}

// wantBoots checks that a run whose snapshot is damaged does the same as any other, without this snapshot, and
// that the journal has the reason.
func (p *project) wantBoots(key, stdout, reason string) {
	p.t.Helper()
	r := p.ctl("run", ".", "--", "--version").ok()
	if r.stdout != stdout || r.stderr != "" {
		p.t.Errorf("run: stdout %q, stderr %q", r.stdout, r.stderr)
	}
	line := "cannot resume from the snapshot " + key + ", which is discarded; booting instead: " + reason
	if journal := p.journal(); strings.Count(journal, line) != 1 {
		p.t.Errorf("the journal does not have %q once:\n%s", line, tail(journal, 60))
	}
	if info, err := os.Stat(snapshots(p.t).Memory(key)); err == nil && info.Size() <= 50<<20 { // else it is a new one
		p.t.Error("the damaged snapshot is still there")
	}
}

// failsToSave checks that nothing is left of a snapshot if QEMU or the unit is killed while it saves, or the
// disk is full.
func (p *project) failsToSave() {
	p.t.Helper()
	var unit string
	for _, whom := range []string{"all", "main"} {
		make := p.spawn("", "claude-vm-ctl", "snapshot", "make", ".")
		p.eventually("QEMU saves", func() bool {
			unit, _, _ = strings.Cut(p.systemctl("list-units", "--plain", "--no-legend", "--state=activating", instance.SnapshotUnit("*")).stdout, " ")
			return unit != "" && p.systemctl("show", "--value", "--property=StatusText", unit).stdout == "Saving the memory of the guest\n"
		})
		p.systemctl("kill", "--signal=KILL", "--kill-whom="+whom, unit).ok()
		if r := make.wait(); r.status != 1 || !strings.Contains(r.stderr, "the snapshot was not made: failed\n") {
			p.t.Errorf("%s killed: status %d, %s", whom, r.status, r.stderr)
		}
	}
	key := strings.TrimSuffix(strings.TrimPrefix(unit, "claude-vm-snapshot@"), ".service")
	store := snapshots(p.t)
	spec := "%C/claude-vm/snapshot/" + key + ".spec"
	p.dropin(unit, "small.conf", "TemporaryFileSystem=/opt:size=48m,mode=1777", "Environment=XDG_CACHE_HOME=/opt",
		"BindReadOnlyPaths="+spec+":/opt/claude-vm/snapshot/"+key+".spec")
	r := p.ctl("snapshot", "make")
	log := p.command("journalctl", "--user", "--no-pager", "--output=cat", "--unit="+unit).stdout
	if r.status != 1 || !strings.Contains(strings.ToLower(log), "no space left on device") {
		p.t.Errorf("disk full: status %d, %s, journal %s", r.status, r.stderr, tail(log, 20))
	}
	if found, err := store.Read(key); !snapshot.IsMissing(err) {
		p.t.Errorf("there is a snapshot: %+v, %v", found, err)
	}
	os.RemoveAll(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user", unit+".d"))
	p.systemctl("daemon-reload").ok()
}

// wantUnlike checks that no two VMs that resume from a snapshot are alike. With $CLAUDE_VM_TEST_SOAK, that is
// a number of VMs, otherwise there is one more after those of seen.
func (p *project) wantUnlike(key string, seen ...map[string]string) {
	p.t.Helper()
	runs := 1
	if text := os.Getenv("CLAUDE_VM_TEST_SOAK"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			p.t.Fatal(err)
		}
		runs = n
	}
	for run := range runs {
		p.start()
		if got := p.resumedFrom(); got != key {
			p.t.Fatalf("run %d has resumed from %q, want %q", run, got, key)
		}
		mine := p.identity()
		for other, theirs := range seen {
			for what, value := range mine {
				if value == "" || theirs[what] == value && what != "host name" {
					p.t.Errorf("runs %d and %d have the %s %q", run, other-2, what, value)
				}
			}
		}
		seen = append(seen, mine)
		p.ctl("stop").ok()
	}
}
