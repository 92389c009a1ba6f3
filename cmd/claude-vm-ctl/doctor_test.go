package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// describeFinding returns what doctor prints about a check in one line.
func describeFinding(fact string, err error) string {
	f := newFinding("", fact, err)
	return fmt.Sprintf("%s: %s; fix: %s", f.State, f.Fact+f.Reason, f.Fix)
}

// TestMemory checks the comparison of the VMs' memory with that of the machine.
func TestMemory(t *testing.T) {
	total, err := preflight.MemoryInfo("MemTotal")
	if err != nil {
		t.Fatal(err)
	}
	huge := &host{}
	huge.files.Defaults.Memory = 1 << 40
	huge.files.VMs = []vm.VM{{WorkDirectory: "/srv/a", Memory: 1 << 50}, {WorkDirectory: "/srv/b", Memory: 1 << 50}}
	small := &host{}
	small.files.Defaults.Memory = total
	for want, check := range map[string]func() (string, error){
		fmt.Sprintf("warn: %s; running and configured VMs use up to 2097152G, any other VM up to 1024G; fix: claude-vm-ctl edit --defaults, and set Memory=", size.Format(total)): func() (string, error) {
			return checkMemory(t.Context(), huge)
		},
		fmt.Sprintf("ok: %s; running and configured VMs use up to 0M, any other VM up to %[1]s; fix: ", size.Format(total)): func() (string, error) {
			return checkMemory(t.Context(), small)
		},
		"fail: the files cannot be read; fix: ": func() (string, error) {
			return checkMemory(t.Context(), &host{filesErr: errors.New("the files cannot be read")})
		},
		"fail: unknown, because the units, which define its path, were not found; fix: ": func() (string, error) { return checkBundle(t.Context(), &host{}) },
	} {
		if got := describeFinding(check()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct{ machine, manager, want string }{
		{"cpuset cpu io memory pids", "cpu memory pids", "ok: the user manager has the controllers cpu memory pids; fix: "},
		{"cpu io memory pids", "pids", "warn: a VM can use up the machine: the user manager lacks the cgroup controllers memory cpu; fix: " +
			"sudo systemctl edit user@.service, and set Delegate=memory pids cpu in [Service], then log in again"},
		{"", "", "warn: a VM can use up the machine: the user manager lacks the cgroup controllers memory pids cpu; fix: " +
			"add systemd.unified_cgroup_hierarchy=1 to the kernel command line, and reboot"},
	} {
		if got := describeFinding(limitsOf(strings.Fields(c.machine), strings.Fields(c.manager))); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestCheckTimeout(t *testing.T) {
	late := make(chan struct{})
	defer close(late)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	got := await(ctx, "slow", func() (string, error) { <-late; return "", nil })()
	if diff := cmp.Diff(finding{Check: "slow", State: "fail", Reason: "timed out after 5s"}, got); diff != "" {
		t.Errorf("mismatch (-want +got):\n%s", diff)
	}
}

// TestSilentBus checks that a bus that accepts connections and never replies does not delay
// other checks.
func TestSilentBus(t *testing.T) {
	dir := t.TempDir()
	bus, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+bus.Addr().String())
	start := time.Now()
	findings := diagnose(context.Background())
	if d := time.Since(start); d > 2*checkTimeout {
		t.Errorf("it took %v", d)
	}
	if got, want := findings[0].Reason, "cannot connect to the systemd user manager: no reply"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, f := range findings {
		if strings.HasPrefix(f.Reason, "no answer") || f.Check == ".vm files" && f.State != "ok" {
			t.Errorf("%+v", f)
		}
	}
}

// TestWantedFiles compares wantedFiles with the units of virtiofsd, which opens the files, and
// of the VM, whose limit is sent to the guest.
func TestWantedFiles(t *testing.T) {
	for _, p := range []*instance.Part{instance.Virtiofsd, instance.VM} {
		text, err := os.ReadFile("../../units/" + p.Unit(""))
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("\nLimitNOFILE=%d\n", wantedFiles); !strings.Contains(string(text), line) {
			t.Errorf("%s lacks %q", p.Unit(""), line)
		}
	}
}
