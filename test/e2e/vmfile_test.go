//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

const oddName = `it's "all" $HOME, ${x} %n \`

// vmFile writes the instance's .vm file, whose text starts in the section [VM], and reloads
// the user manager. The file is removed when the test ends.
func (p *project) vmFile(text string) (path string) {
	p.t.Helper()
	path = filepath.Join(os.Getenv("HOME"), ".config/claude-vm", p.id+".vm")
	writeFile(path, "[VM]\nWorkDirectory="+unitfile.EscapeSpecifiers(p.dir)+"\n"+text)
	p.systemctl("daemon-reload").ok()
	p.t.Cleanup(func() {
		os.Remove(path)
		exec.Command("systemctl", "--user", "daemon-reload").Run()
	})
	return path
}

// word quotes a word of a value in a .vm file.
func word(text string) string { return unitfile.Quote(unitfile.EscapeSpecifiers(text)) }

// freePort returns a port of the host that is not in use.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// cmdline returns the command line of QEMU's process, one argument per line.
func (p *project) cmdline() string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", p.property("MainPID"), "cmdline"))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\x00", "\n")
}

// otherGuest creates a copy of the installed bundle with an additional word on the kernel
// command line.
func (p *project) otherGuest(word string) (dir string) {
	p.t.Helper()
	dir = filepath.Join(filepath.Dir(p.dir), "guest 100%")
	p.command("sh", "-ec", `mkdir -p "$2"; ln -s "$1"/* "$2"; rm "$2/guest.env"
		sed "/^GUEST_APPEND=/s/\"\$/ $3\"/; s/^GUEST_VERSION=\"/&other-/" "$1/guest.env" >"$2/guest.env"`, "sh",
		"/usr/local/share/claude-vm/guest", dir, word).ok()
	return dir
}

// TestVMFile starts a VM with every key, then restarts it with other settings.
func TestVMFile(t *testing.T) {
	t.Parallel()
	p := newProject(t, "settings")
	p.command("git", "init", "-q", "-b", "main").ok()
	p.command("mkdir", "-p", ".claude", "locked/deep").ok()
	p.write("locked/deep/file", "host")
	p.write(".env", "SECRET=1")
	for _, name := range []string{"a/b/server.key", "a/visible.key", "node_modules/m/test.pem"} {
		p.command("mkdir", "-p", filepath.Dir(name)).ok()
		p.write(name, "KEY\n")
	}
	shared := filepath.Join(filepath.Dir(p.dir), oddName)
	writeFile(filepath.Join(shared, "file"), "from the host")
	settings := filepath.Join(filepath.Dir(p.dir), "settings.json")
	writeFile(settings, `{"cleanupPeriodDays": 7}`)
	secret := filepath.Join(filepath.Dir(p.dir), "secret")
	writeFile(secret, "hunter2\n")
	port := freePort(t)
	fwcfg := `name=opt/test,string=two  words,, "quoted" 'too' $HOME 100%`
	file := p.vmFile(`Memory=900M
CPUs=2
Accelerator=tcg
Guest=` + unitfile.EscapeSpecifiers(p.otherGuest("claude-vm.other")) + `
QEMUArguments=-fw_cfg ` + word(fwcfg) + `

[Claude]
Arguments=--append-system-prompt "two  words"
SkipPermissions=yes
Environment="TEST_A=a  b" ANTHROPIC_API_KEY=` + apiKey + `-2
Credential=TEST_SECRET:` + secret + `
SettingsFile=` + settings + `
Home=project

[Share]
ReadOnly=locked
Hide=.env @secrets !a/vis*.key
Mount=` + word(shared+":/home/claude/a/read only:ro") + `
Mount=` + word(shared+":/mnt/"+oddName) + ` \
# A comment amid a list that goes on
	` + word(shared+"/file:/etc/one-file:ro") + `

[Network]
PublishPort=` + fmt.Sprint(port) + `:8080

[Unit]
Description=The VM of %f

[Service]
MemoryMax=2G
CPUWeight=20
`)
	p.ctl("start", ".", "--", "--model", "sonnet").ok()

	if got := p.claude(); got != "claude\n--dangerously-skip-permissions\n--append-system-prompt\ntwo  words\n--model\nsonnet\n" {
		t.Errorf("Claude's arguments: %q", got)
	}
	if got := p.guest(`echo "$TEST_A, $TEST_SECRET, $ANTHROPIC_API_KEY"`); got != "a  b, hunter2, "+vm.Placeholder("ANTHROPIC_API_KEY")+"\n" {
		t.Errorf("Claude's environment: %q", got)
	}
	if got := p.guest("nproc; awk '/MemTotal/ { print ($2 > 750000 && $2 < 900000) }' /proc/meminfo; grep -c claude-vm.other /proc/cmdline"); got != "2\n1\n1\n" {
		t.Errorf("processors, memory in range, guest with the added word: %s, want 2, 1 and 1", got)
	}
	if got := p.cmdline(); !strings.Contains(got, "\n-accel\ntcg,thread=single\n-cpu\nmax,erms=off,") || !strings.Contains(got, "\n-fw_cfg\n"+fwcfg+"\n-sandbox\n") {
		t.Errorf("QEMU's command line: %s", got)
	}
	for name, want := range map[string]string{
		"MemoryMax": "2147483648", "CPUWeight": "20", "Description": "The VM of " + p.dir, "SourcePath": file,
	} {
		if got := p.property(name); got != want {
			t.Errorf("%s=%s, want %s", name, got, want)
		}
	}
	p.wantMounts(shared)
	p.wantHome("project/" + p.id)
	p.wantProtected()
	p.wantPublished(port)
	// git must accept a directory that is a mount point on the host as part of the repository.
	if got := p.guest("cd .claude; touch x; git rev-parse --show-toplevel"); got != p.dir+"\n" {
		t.Errorf("git in .claude: %s", got)
	}
	p.onlyTheDirectory("/etc/one-file", "/home/claude", "/home/claude/a/read only", p.dir, "/mnt/"+oddName)
	p.changedFile(shared, settings)
	p.removedFile(file)
}

// changedFile checks that a restart applies a changed file and keeps Claude's arguments.
func (p *project) changedFile(shared, settings string) {
	p.t.Helper()
	p.vmFile("[Claude]\nHome=project\n[Share]\nMount=" + word(shared+":/new") + "\n[Network]\nMode=none\n")
	if got := p.ctl("status", "-n0").ok().stdout; !strings.Contains(got, "     Guest: other-debian-") || !strings.Contains(got, "Next guest: debian-") {
		p.t.Errorf("status while the VM has another guest than the next start:\n%s", got)
	}
	p.systemctl("restart", p.unit()).ok()
	journal := p.command("journalctl", "--user", "--output=cat", "-t", "claude-vm-guard", "_SYSTEMD_USER_UNIT="+instance.Guard.Unit(p.id)).ok().stdout
	if want := "1 paths match Hide= but were created while the VM ran, which could read them, for example a/late.pem\n"; !strings.Contains(journal, want) {
		p.t.Errorf("the journal of the guard: %s", journal)
	}
	got := p.guest("cat /new/file ~/kept; find /etc/one-file ~/a -type f 2>/dev/null || true; ls /sys/class/net; cat /work/.env")
	if got != "from the hostkept\nlo\nSECRET=1" {
		p.t.Errorf("after the restart: %s", got)
	}
	if got := p.claude(); got != "claude\n--model\nsonnet\n" {
		p.t.Errorf("Claude's arguments after the restart: %q", got)
	}
	p.forwardsWithoutNetwork()
	// A stop drops the arguments, even if a start follows at once.
	p.vmFile("[Claude]\nHome=user\nSettingsFile=" + settings + "\n")
	p.systemctl("stop", p.unit()).ok()
	p.start()
	if got := p.claude(); got != "claude\n" {
		p.t.Errorf("Claude's arguments after a stop and a start: %q", got)
	}
	p.wantHome("user")
}

// forwardsWithoutNetwork checks that ports are forwarded over SSH.
func (p *project) forwardsWithoutNetwork() {
	p.t.Helper()
	a, b := freePort(p.t), freePort(p.t)
	p.spawn("", "claude-vm-ctl", "shell", ".", "--", "python3", "-c", serveEcho)
	p.spawn("", "claude-vm-ctl", "forward", fmt.Sprintf("%d:7007", a))
	p.eventually("a port answers", func() bool { return answers(a, "one") })
	p.ctl("forward", "--detach", ".", fmt.Sprintf("%d:7007", b)).ok()
	p.eventually("a second port answers", func() bool { return answers(b, "two") })
	unit := instance.PortUnit(p.id, b)
	p.ctl("forward", "--detach", ".", fmt.Sprintf("%d:7007", b)).fails(1,
		fmt.Sprintf("port %d is already forwarded to this VM by %s", b, unit), "systemctl --user stop "+unit)
	p.ctl("forward", fmt.Sprintf("%d:7007", b)).fails(1,
		fmt.Sprintf("listen tcp 127.0.0.1:%d: bind: address already in use", b), fmt.Sprintf("ss -tlnp 'sport = :%d'", b))
	p.ctl("forward", "53/udp").fails(1, "only TCP ports can be forwarded to a VM that has no network (Mode=none)", "claude-vm-ctl edit")
	// The unit exits with the VM without a failure; see removedFile.
}

// removedFile checks that a VM has default settings after its file is deleted, and that no
// generated files are left.
func (p *project) removedFile(file string) {
	p.t.Helper()
	if err := os.Remove(file); err != nil {
		p.t.Fatal(err)
	}
	p.systemctl("daemon-reload").ok()
	p.systemctl("restart", p.unit()).ok()
	if got := p.guest("cat ~/kept 2>/dev/null || echo none"); got != "none\n" {
		p.t.Errorf("a VM without a file has a persistent home directory: %s", got)
	}
	p.guest("touch ~/lost")
	p.systemctl("restart", p.unit()).ok()
	if got := p.guest("ls ~"); got != "" {
		p.t.Errorf("an ephemeral home directory contains, after a restart: %s", got)
	}
	p.systemctl("stop", p.unit()).ok()
	p.wantGone()
	for _, dir := range []string{"systemd/generator", "systemd/user"} {
		left := p.command("find", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), dir), "-name", "*"+strings.ReplaceAll(p.id, `\`, `\\`)+"*").stdout
		if left != "" {
			p.t.Errorf("not removed: %s", left)
		}
	}
}

// wantProtected checks that root in the guest cannot bypass ReadOnly=locked and Hide=.env.
func (p *project) wantProtected() {
	p.t.Helper()
	r := p.root("cd /work; mount -o remount,rw . ; echo evil >locked/deep/file; mv locked away; rm -r locked; cat .env; rm -f .env")
	if strings.Count(r.stderr, "Read-only file system") < 2 || strings.Contains(r.stdout, "SECRET") {
		p.t.Errorf("locked and .env: %s%s", r.stdout, r.stderr)
	}
	file, backup := filepath.Join(p.dir, ".env"), filepath.Join(p.dir, ".env~")
	for text, replace := range map[string]func(text string) error{
		// The kernel removes what hides the file.
		"SECRET=2": func(text string) error {
			writeFile(file+".new", text)
			return os.Rename(file+".new", file)
		},
		// As Emacs does: what hides the file goes with it.
		"SECRET=3": func(text string) error {
			err := os.Rename(file, backup)
			writeFile(file, text)
			return err
		},
	} {
		if err := replace(text); err != nil {
			p.t.Fatal(err)
		}
		p.eventually("the replaced file is hidden, too", func() bool {
			return strings.Contains(p.root("cat /work/.env; echo evil >/work/.env").stderr, "Read-only file system")
		})
		if got := p.root("cat /work/.env /work/.env~").stdout; got != "" || p.read(".env") != text {
			p.t.Errorf("the replaced file: %q, %q", got, p.read(".env"))
		}
	}
	if err := os.Remove(backup); err != nil {
		p.t.Fatal(err)
	}
	if got := p.root("cd /work; cat a/visible.key node_modules/m/test.pem; cat a/b/server.key; mv a other").stdout; got != "KEY\nKEY\n" {
		p.t.Errorf("what matches no pattern of Hide=, and what does: %q", got)
	}
	p.write("a/late.pem", "later\n")
	writeFile(filepath.Join(p.dir, ".env"), "SECRET=1")
	if got := p.read("locked/deep/file") + p.read(".env"); got != "hostSECRET=1" {
		p.t.Errorf("files on the host after the guest's attempts: %s", got)
	}
}

// wantPublished starts a server in the guest and connects to it from the host.
func (p *project) wantPublished(port int) {
	p.t.Helper()
	p.guest("echo from the guest >/tmp/page")
	// As a unit, which does not depend on the connection that starts it.
	p.root("systemd-run --quiet --working-directory=/tmp python3 -m http.server 8080")
	p.eventually("the port answers", func() bool {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/page", port))
		if err != nil {
			return false
		}
		defer r.Body.Close()
		page, err := io.ReadAll(r.Body)
		return string(page) == "from the guest\n" && err == nil
	})
	if out := p.command("ss", "-Hltn", fmt.Sprintf("sport = :%d", port)).ok().stdout; !strings.Contains(out, "127.0.0.1:") || strings.Contains(out, "0.0.0.0:"+fmt.Sprint(port)) {
		p.t.Errorf("the port listens on %s", out)
	}
}
