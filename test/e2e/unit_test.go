//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// start starts the VM with systemctl, without claude-vm-ctl.
func (p *project) start() {
	p.t.Helper()
	p.systemctl("start", p.unit()).ok()
}

func TestSystemctl(t *testing.T) {
	t.Parallel()
	p := newProject(t, "systemctl")
	p.start()
	// When the start returns, Claude must be running already.
	if got := p.guest("pgrep -u claude -x claude | wc -l"); got != "1\n" {
		t.Errorf("Claude's processes after the start: %s", got)
	}
	if got := p.property("StatusText"); got != "Claude Code is running" {
		t.Errorf("StatusText=%s", got)
	}
	if got := p.ctl("status", "--json", ".").ok().stdout; !strings.Contains(got, `"startedBy":"systemd"`) {
		t.Errorf("status --json: %s", got)
	}
	p.guestCannotShout()
	p.guestSetsVariables()
	p.guestHasOverlay()
	// A program that has changed a file with mmap(2) and not stored it.
	p.write("dirty.py", `import mmap, os, time
f = open("dirty", "wb+")
f.truncate(1 << 20)
m = mmap.mmap(f.fileno(), 1 << 20)
m[-4:] = b"kept"
os.mkdir("dirtied")
time.sleep(1000)
`)
	p.guest("nohup python3 dirty.py >/dev/null 2>&1 & until [ -d dirtied ]; do sleep 0.1; done")
	p.systemctl("stop", p.unit()).ok()
	if got := p.property("ActiveState"); got != "inactive" {
		t.Errorf("after the stop, ActiveState=%s", got)
	}
	if got := p.read("dirty"); !strings.HasSuffix(got, "kept") {
		t.Errorf("the end of the file is %q", got[len(got)-4:])
	}
	journal := p.journal()
	for _, want := range []string{
		"Linux version",              // kernel
		"systemd[1]: Reached target", // journal
		"power button pressed",       // a clean power-off
		"Reached target umount.target",
		`/etc/environment:3: not NAME=VALUE: "wrong"`,
		"reboot: Power down", // to its end
	} {
		if !strings.Contains(journal, want) {
			t.Errorf("no %q in the journal", want)
		}
	}
	if strings.Contains(journal, "Welcome to Claude") {
		t.Error("Claude's screen is in the journal")
	}
	p.wantGone()
}

// guestHasOverlay checks that the files that all guests have in common are those in the
// repository. nix/checks compares the NixOS guest with them.
func (p *project) guestHasOverlay() {
	p.t.Helper()
	const list = `cd "$0" && find . -type f ! -path ./etc/machine-id -exec sha256sum {} + | sort -k 2`
	want := p.command("sh", "-c", list, "/mnt/guest/overlay").ok().stdout
	got := p.guest(`for file in $(echo "` + want + `" | cut -c 67-); do (cd / && sha256sum "$file"); done`)
	if got != want || want == "" {
		p.t.Errorf("in the guest\n%s\nwant\n%s", got, want)
	}
}

// guestCannotShout checks that guest output does not get a high priority in the host's
// journal (journald shows emergencies on every terminal), and that the guest's status
// cannot fill the runtime directory.
func (p *project) guestCannotShout() {
	p.t.Helper()
	p.root("echo '<0>shout' >/dev/ttyS0").ok()
	p.eventually("the line is in the journal", func() bool {
		return strings.Contains(p.command("journalctl", "--user", "--output=json", "--unit="+p.unit(), "--grep=shout").stdout, "shout")
	})
	if out := p.command("journalctl", "--user", "--quiet", "--priority=5", "--unit="+p.unit(), "--grep=shout").stdout; out != "" {
		p.t.Errorf("the guest shouts: %s", out)
	}
	p.root("p=/dev/$(basename $(dirname $(grep -l status /sys/class/virtio-ports/*/name))); timeout 5 sh -c \"yes >$p\"")
	info, err := os.Stat(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm", p.id, "status"))
	if err != nil || info.Size() > 1<<20 {
		p.t.Errorf("the status file: %v, %v", info, err)
	}
}

// guestSetsVariables checks that variables in the guest's /etc/environment are set for
// commands, and that an invalid line does not prevent commands from running.
func (p *project) guestSetsVariables() {
	p.t.Helper()
	p.root(`printf 'ALL="of them"\nPATH=/opt/tool\nwrong\n' >/etc/environment`).ok()
	if got := p.guest(`echo "$ALL in $HOME, $PATH"`); !strings.HasPrefix(got, "of them in /home/claude, /opt/tool:/home/claude/.local/bin:") {
		p.t.Errorf("the environment: %s", got)
	}
}

func TestStopOfHungGuest(t *testing.T) {
	t.Parallel()
	p := newProject(t, "hung")
	p.start()
	// Stop the virtual processors, so that the guest ignores the power button.
	if out := p.monitor("stop"); !strings.Contains(out, "STOP") {
		t.Fatal(out)
	}
	p.ctl("stop").fails(1, "the guest did not shut down in time and was killed", "claude-vm-ctl logs")
	if got := p.property("Result"); got != "timeout" {
		t.Errorf("Result=%s, want timeout", got)
	}
	if got := p.property("StatusText"); got != "the guest did not shut down in time and was killed" {
		t.Errorf("StatusText=%s", got)
	}
	p.wantGone2()
}

// monitor executes a command in QEMU's monitor and returns the output.
func (p *project) monitor(command string) string {
	p.t.Helper()
	qmp := exec.Command("sh", "-c", `printf '{"execute":"qmp_capabilities"}{"execute":"`+command+`"}' | socat -t 2 - UNIX-CONNECT:qmp.sock`)
	qmp.Dir = filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm", p.id)
	out, _ := qmp.CombinedOutput()
	return string(out)
}

func TestRestarts(t *testing.T) {
	t.Parallel()
	p := newProject(t, "restart")
	p.dropin(p.unit(), vmFile, "Restart=on-failure\nRestartSec=1")
	p.ctl("start", ".", "--", "--model", "sonnet").ok()
	for i := range 5 {
		before := p.property("InvocationID")
		p.systemctl("restart", p.unit()).ok()
		if after := p.property("InvocationID"); after == before {
			t.Fatalf("restart %d: the same invocation", i)
		}
	}
	// A restart, including an automatic one by systemd, uses the same request.
	again := "claude\n--model\nsonnet\n"
	if got := p.claude(); got != again {
		t.Errorf("after five restarts Claude's arguments are %q", got)
	}
	// The share stops after QEMU and may be slow. If it stops while the VM's unit waits for
	// its restart, the restart must still take place.
	share := instance.Virtiofsd.Unit(p.id)
	p.systemctl("kill", "--signal=SIGSTOP", share).ok()
	before := p.property("InvocationID")
	p.killMain(p.unit())
	p.eventually("the unit notices", func() bool { return p.property("ActiveState") != "active" })
	time.Sleep(300 * time.Millisecond)
	p.systemctl("kill", "--signal=SIGCONT", share).ok()
	p.eventually("systemd restarts it", func() bool {
		return p.property("InvocationID") != before && p.property("ActiveState") == "active"
	})
	if got := p.claude(); got != again {
		t.Errorf("after a failure Claude's arguments are %q", got)
	}
	// When Claude exits and the guest powers off, the share stops before QEMU does.
	for range 2 {
		before = p.property("InvocationID")
		p.root("pkill -KILL --exact claude")
		p.eventually("systemd restarts it after Claude's failure", func() bool {
			return p.property("InvocationID") != before && p.property("ActiveState") == "active"
		})
	}
	if journal := p.journal(); !strings.Contains(journal, "]: screen: ") {
		t.Error("the end of Claude's screen is not in the journal")
	}
	// A start of a running VM does nothing.
	before = p.property("InvocationID")
	p.ctl("start", ".").ok()
	if after := p.property("InvocationID"); after != before {
		t.Error("start of a running VM made another one")
	}
	if got := p.claude(); got != again {
		t.Errorf("after a start of what runs Claude's arguments are %q", got)
	}
	// A start after a stop is not a restart, even while the unit is stopping. (A start
	// before the unit stops would cancel the stop job.)
	p.systemctl("stop", "--no-block", p.unit()).ok()
	p.eventually("the stop begins", func() bool { return p.property("ActiveState") != "active" })
	p.start()
	if got := p.claude(); got != "claude\n" {
		t.Errorf("after a stop and a start Claude's arguments are %q", got)
	}
	// claude-vm-ctl restart is the unit's restart: it keeps arguments and options.
	p.ctl("stop", ".").ok()
	p.ctl("start", "--cpus", "2", ".", "--", "--model", "sonnet").ok()
	before = p.property("InvocationID")
	p.ctl("restart", ".").ok()
	if after := p.property("InvocationID"); after == before {
		t.Error("restart: the same invocation")
	}
	if got, processors := p.claude(), p.guest("nproc"); got != again || processors != "2\n" {
		t.Errorf("after claude-vm-ctl restart Claude's arguments are %q, with %s processors", got, processors)
	}
	if out := p.ctl("status", "--json", ".").ok().stdout; !strings.Contains(out, `"state":"active","status":"Claude Code is running"`) {
		t.Errorf("status --json: %s", out)
	}
	if out := p.ctl("logs", "-n", "1000", ".").ok().stdout; !strings.Contains(out, "Linux version") {
		t.Errorf("logs: %s", out)
	}
	p.ctl("stop", ".").ok()
	if r := p.ctl("status", "."); r.status != 120 {
		t.Errorf("status of a stopped VM: %d, %s", r.status, r.stdout)
	}
	p.wantGone()
	stopped := "no VM is running on " + p.dir
	p.ctl("attach", ".").fails(120, stopped, "claude-vm-ctl run")
	p.ctl("stop", ".").fails(120, stopped, "claude-vm-ctl list")
	for _, args := range [][]string{{"shell"}, {"forward", "80"}, {"forward", "--detach", "80"}} {
		p.ctl(args...).fails(120, stopped, "claude-vm-ctl start")
	}
}

// TestLeftParts starts a VM whose other parts are still active, as they are for a moment after a start
// that has failed.
func TestLeftParts(t *testing.T) {
	t.Parallel()
	p := newProject(t, "left")
	var parts []string
	for _, part := range []*instance.Part{instance.Guard, instance.Console, instance.Virtiofsd, instance.Gateway, instance.Scratch} {
		parts = append(parts, part.Unit(p.id))
	}
	const holder = "claude-vm-test-left.service"
	requires := "Requires=" + strings.Join(parts, " ")
	p.command("systemd-run", "--user", "--quiet", "--collect", "--unit="+holder, "--property="+requires, "--property=After="+strings.TrimPrefix(requires, "Requires="), "sleep", "infinity").ok()
	for _, unit := range parts {
		p.eventually(unit+" is active", func() bool { return p.systemctl("is-active", "--quiet", unit).status == 0 })
	}
	p.start()
	p.systemctl("stop", holder).ok()
	p.eventually("the guest uses its scratch disk", func() bool { return strings.Count(p.guest("cat /proc/swaps"), "\n") == 2 })
	p.ctl("stop").ok()
	p.wantGone()
}

func TestTwoGuestsDiffer(t *testing.T) {
	t.Parallel()
	a, b := newProject(t, "same"), newProject(t, "other/same")
	a.ctl("start", ".").ok()
	b.ctl("start", ".").ok()
	for _, what := range []string{
		"cat /etc/machine-id", "hostname", "head -c 32 /dev/urandom | od -An -tx1", "cat /proc/sys/kernel/random/uuid",
	} {
		if x, y := a.guest(what), b.guest(what); x == y {
			t.Errorf("%s: %s on both", what, x)
		}
	}
	if got := a.guest(`echo "$(hostname)" "$(cat /etc/hostname)"; getent hosts "$(hostname)"`); strings.Count(got, "same-") < 3 {
		t.Errorf("host name: %s", got)
	}
	host := strings.TrimSpace(a.command("date", "+%s").stdout)
	guest := strings.TrimSpace(a.guest("date +%s"))
	var h, g int64
	fmt.Sscan(host, &h)
	fmt.Sscan(guest, &g)
	if d := g - h; d < -2 || d > 2 {
		t.Errorf("the guest's clock is %d s off", d)
	}
	a.write("only-a", "")
	if got := b.guest("ls /work"); strings.Contains(got, "only-a") {
		t.Errorf("one VM sees the other's files: %s", got)
	}
}

// wantGone2 is wantGone for a failed unit, which systemd keeps loaded until reset-failed.
func (p *project) wantGone2() {
	p.t.Helper()
	p.systemctl("reset-failed", p.unit())
	p.systemctl("reset-failed", instance.Virtiofsd.Unit(p.id))
	p.wantGone()
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	p := newProject(t, "defaults")
	text := p.systemctl("cat", p.unit()).ok().stdout
	for _, want := range []string{"MEMORY=4096M", "CPUS=4", "NETWORK=-netdev stream,id=net0,"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the unit", want)
		}
	}
}
