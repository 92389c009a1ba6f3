package instance

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/protect"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

func TestOffer(t *testing.T) {
	p := testPaths(t)
	plain := Request{Session: contract.Session{Terminal: true}}
	want := Request{Session: contract.Session{Arguments: []string{"-p", "a\nb"}, Attached: true}}

	fill := func(o *Offer) {
		t.Helper()
		if err := o.Fill(want); err != nil {
			t.Fatal(err)
		}
	}
	take := func(when string, want Request) {
		t.Helper()
		offered, err := p.OpenOffer("x")
		if err != nil {
			t.Fatal(err)
		}
		defer offered.Close()
		got, err := offered.Take()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: Take() mismatch (-want +got):\n%s%v", when, diff, err)
		}
	}
	offer, err := p.Offer("x")
	if err != nil {
		t.Fatal(err)
	}
	if take("before there is a request", plain); offer.Taken() {
		t.Error("an empty offer was taken")
	}
	fill(offer)
	if _, err := p.Offer("x"); !errors.Is(err, ErrStarting) {
		t.Errorf("second offer: %v, want %v", err, ErrStarting)
	}
	if offer.Taken() {
		t.Error("taken before Take()")
	}
	if take("the request", want); !offer.Taken() {
		t.Error("not taken")
	}
	// A second offer, made before the first one is withdrawn, is independent of it.
	next, err := p.Offer("x")
	if err != nil {
		t.Fatal(err)
	}
	fill(next)
	if !offer.Taken() || next.Taken() {
		t.Error("Taken() of one offer depends on the other")
	}
	offer.Withdraw()
	if take("the second offer", want); !next.Taken() {
		t.Error("not taken")
	}
	next.Withdraw()
	take("without an offer", plain)

	// A later start does not use the offer of a process that was killed.
	offer, err = p.Offer("x")
	if err != nil {
		t.Fatal(err)
	}
	fill(offer)
	offer.file.Close()
	take("with a stale offer", plain)
	if _, err := os.Stat(p.offerPath("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale offer still exists: %v", err)
	}
}

// TestRefusal checks that the caller of a failed start gets the reason and the hint,
// whether or not setup has taken the request before.
func TestRefusal(t *testing.T) {
	for _, filled := range []bool{false, true} {
		for _, taken := range []bool{false, true} {
			p := testPaths(t)
			offer, err := p.Offer("x")
			if err != nil {
				t.Fatal(err)
			}
			if filled {
				if err := offer.Fill(Request{Session: contract.Session{Arguments: []string{strings.Repeat("long", 1000)}}}); err != nil {
					t.Fatal(err)
				}
			}
			offered, err := p.OpenOffer("x")
			if err != nil {
				t.Fatal(err)
			}
			if taken {
				if _, err := offered.Take(); err != nil {
					t.Fatal(err)
				}
			}
			if got := offer.Refusal(); got != nil {
				t.Errorf("before Refuse(): %v", got)
			}
			if err := offered.Refuse(failure.Of(failure.New(failure.HostUnable, "make it", "no: \u00e9"))); err != nil {
				t.Fatal(err)
			}
			offered.Close()
			if got := offer.Refusal(); got == nil || got.Error() != "no: \u00e9" || got.Hint != "make it" || got.Status != failure.HostUnable {
				t.Errorf("filled %v, taken %v: %+v", filled, taken, got)
			}
			offer.Withdraw()
		}
	}
	if err := (Offered{}).Refuse(failure.Of(errors.New("x"))); err != nil {
		t.Errorf("without an offer: %v", err)
	}
}

func TestRecord(t *testing.T) {
	p := testPaths(t)
	record := Record{
		Request: Request{Session: contract.Session{Arguments: []string{"-p", "x"}, Attached: true}, AuthSocket: "/run/agent", By: "me"},
		Job:     "1.6", Settings: vm.Default(), GuestVersion: "x", Warnings: []string{"w"},
		Shares: []Share{
			{Name: contract.ShareWork, Path: "/a", Device: 1, Inode: math.MaxUint64, Mounts: []protect.Mount{{Path: ".git", Mode: protect.ReadWrite, Type: unix.S_IFDIR}}},
			{Name: "ro0", Path: "/b"},
		},
	}
	if err := p.MakeRun("x", record, Secrets{}); err != nil {
		t.Fatal(err)
	}
	got, err := p.ReadRecord("x")
	if diff := cmp.Diff(record, got); diff != "" || err != nil {
		t.Errorf("ReadRecord() mismatch (-want +got):\n%s%v", diff, err)
	}
	if !p.IsSetUp("x", "1.6") || p.IsSetUp("x", "1.7") || p.IsSetUp("x", "") || p.IsSetUp("y", "1.6") {
		t.Error("IsSetUp() is wrong")
	}
	for name, want := range map[string]string{"ro0": "/b", AgentLink: "/run/agent"} {
		if got, err := os.Readlink(filepath.Join(p.ShareDirectory("x"), name)); got != want {
			t.Errorf("%s -> %s, %v, want %s", name, got, err, want)
		}
	}
	// The record may contain an API key: other users must not read it.
	if info, err := os.Stat(p.recordPath("x")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if diff := cmp.Diff([]string{"x"}, p.Recorded()); diff != "" {
		t.Errorf("Recorded() mismatch (-want +got):\n%s", diff)
	}
	// WriteRecord was killed while it wrote.
	if err := os.WriteFile(p.newRecordPath("x"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.RemoveRun("x"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(p.instances()); len(left) > 0 || err != nil {
		t.Errorf("after RemoveRun(): %v, %v", left, err)
	}
}

// TestKeptRequest checks that a restart reuses the request and another start does not.
func TestKeptRequest(t *testing.T) {
	p := testPaths(t)
	request := Request{Session: contract.Session{Arguments: []string{"-p", "x"}, Attached: true}, By: "me"}
	want := Request{Session: contract.Session{Arguments: []string{"-p", "x"}}, By: "me, restarted by systemd"}
	if err := p.KeepRecord("x", "1.7", false); err != nil {
		t.Errorf("without a record: %v", err)
	}
	if got, err := p.KeptRequest("x", "1.7"); got != nil || err != nil {
		t.Errorf("nothing kept: %v, %v", got, err)
	}
	if err := p.MakeRun("x", Record{Request: request, Job: "1.6"}, Secrets{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the suffix of By is added once only
		if err := p.KeepRecord("x", "1.7", false); err != nil {
			t.Fatal(err)
		}
	}
	for _, job := range []string{"", "1.6", "2.7"} {
		if got, err := p.KeptRequest("x", job); got != nil || err != nil || p.IsSetUp("x", job) {
			t.Errorf("kept for job %q: %v, %v", job, got, err)
		}
	}
	if got, err := p.KeptRequest("x", "1.7"); got == nil || !cmp.Equal(want, *got) || err != nil {
		t.Errorf("kept: %v, %v", got, err)
	}
	if _, err := os.Stat(p.RuntimeDirectory("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the runtime directory: %v", err)
	}
}

// TestReadRecord checks that only regular files are read.
func TestReadRecord(t *testing.T) {
	p := testPaths(t)
	path := p.recordPath("x")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	fails := func(want string) {
		t.Helper()
		if _, err := p.ReadRecord("x"); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		os.Remove(path)
	}
	fails("open " + path + ": no such file or directory")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(path + ": not a regular file")
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	fails("open " + path + ": too many levels of symbolic links")
}
