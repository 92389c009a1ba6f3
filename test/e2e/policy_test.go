//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestAllow checks Mode=allow, and changes while the VM runs.
func TestAllow(t *testing.T) {
	t.Parallel()
	p := newProject(t, "allow")
	p.certificates()
	p.vmFile("[Network]\nMode=allow\nAllow=example.com host.internal:" + fmt.Sprint(apiPort) + "\n")
	p.start()
	if got, status := p.fetch("https://example.com/"); status != 0 || !strings.HasPrefix(got, "example.com at ") {
		t.Errorf("the allowed name: %q, %d", got, status)
	}
	if got, _ := p.fetch(fmt.Sprintf("http://host.internal:%d/", apiPort)); strings.Contains(got, "curl:") || strings.Contains(got, "denied") {
		t.Errorf("the allowed service of the host: %q", got)
	}
	if got, _ := p.fetch("http://other.test/"); !strings.Contains(got, "claude-vm denied the connection to other.test:80: the name is not in Allow=") {
		t.Errorf("another name: %q", got)
	}
	if got, status := p.fetch("https://other.test/"); status == 0 {
		t.Errorf("another name over TLS: %q", got)
	}
	if got, status := p.fetch("https://93.184.216.34/ -k"); status == 0 {
		t.Errorf("the address of an allowed name: %q", got)
	}
	if got, status := p.fetch("https://example.com/ -k --connect-to example.com:443:other.test:443"); status == 0 {
		t.Errorf("fronting: %q", got)
	}
	// The agent asks, the person looks and allows.
	if got := p.guest("curl -sS -d 'other.test for a test' http://gateway.internal/ask"); !strings.Contains(got, "The user was asked") {
		t.Errorf("a request: %s", got)
	}
	if got := p.ctl("network").ok().stdout; !strings.Contains(got, "   Request: other.test: \"for a test\"\n") || !strings.Contains(got, "to allow it: claude-vm-ctl network allow other.test:443\n") {
		t.Errorf("network: %s", got)
	}
	if got := p.ctl("status", "-n0").ok().stdout; !strings.Contains(got, "   Request: 1 of the guest; see claude-vm-ctl network\n") {
		t.Errorf("status: %s", got)
	}
	p.ctl("network", "allow", "other.test").ok()
	if got, status := p.fetch("https://other.test/"); status != 0 {
		t.Errorf("after network allow: %q, %d", got, status)
	}
	// A connection is closed when it is not allowed any more.
	hold := p.spawn("", "claude-vm-ctl", "shell", ".", "--", "bash", "-c", `exec 3<>/dev/tcp/other.test/7; echo x >&3; cat <&3`)
	p.eventually("the connection is open", func() bool {
		return strings.Contains(p.ctl("network").ok().stdout, "Connection: other.test (93.184.216.35) port 7/tcp")
	})
	p.ctl("network", "deny", "other.test").ok()
	if r := hold.wait(); r.stdout != "x\n" {
		t.Errorf("the connection that was closed: %+v", r)
	}
	if _, status := p.fetch("https://other.test/"); status == 0 {
		t.Error("network deny has no effect")
	}
	p.ctl("network", "--save", "allow", "other.test").ok()
	file := filepath.Join(os.Getenv("HOME"), ".config/claude-vm", p.id+".vm.d", "50-network.conf")
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(file)) })
	if text, err := os.ReadFile(file); string(text) != "[Network]\nAllow=other.test\n" {
		t.Errorf("the saved file: %s, %v", text, err)
	}
	p.ctl("restart", ".").ok()
	if got, status := p.fetch("https://other.test/"); status != 0 {
		t.Errorf("after a restart with the saved rule: %q, %d", got, status)
	}
	p.askOnDesktop()
	p.livePorts()
}

// askOnDesktop checks that the user can answer requests of the guest in desktop notifications.
func (p *project) askOnDesktop() {
	p.t.Helper()
	d := newDesktop(p.t)
	next := func(what string) (n notification) {
		p.t.Helper()
		select {
		case n = <-d.shown:
		case <-time.After(patience):
			p.t.Fatalf("no notification: %s", what)
		}
		return n
	}
	ask := func(text string) string { return p.guest("curl -sS -d '" + text + "' http://gateway.internal/ask") }
	ask("git.test for <b>a test</b>")
	n := next("git.test")
	if want := p.dir + "\n" + html.EscapeString(`The guest's reason: "for <b>a test</b>"`); n.summary != "Claude asks to connect to git.test" || n.body != want {
		p.t.Errorf("notification: %+v", n)
	}
	ask("six.test")
	second := next("a second request while one is shown")
	d.click(n.id, "allow")
	p.eventually("the name is allowed", func() bool { _, status := p.fetch("https://git.test/"); return status == 0 })
	d.click(second.id, "deny")
	p.eventually("the name is denied", func() bool { return strings.Contains(ask("six.test"), "The user has denied six.test.") })
	// A request that is answered elsewhere is not shown any more.
	ask("meta.test")
	n = next("meta.test")
	p.ctl("network", "deny", "meta.test").ok()
	p.eventually("the notification is closed", func() bool {
		select {
		case id := <-d.closed:
			return id == n.id
		default:
			return false
		}
	})
	p.eventually("the unit has exited", func() bool {
		return strings.TrimSpace(p.systemctl("show", "--value", "-p", "ActiveState", instance.Ask.Unit(p.id)).stdout) == "inactive"
	})
}

// livePorts publishes and closes ports of the running VM.
func (p *project) livePorts() {
	p.t.Helper()
	port := freePort(p.t)
	p.guest("echo from the guest >/tmp/page")
	p.root("systemd-run --quiet --working-directory=/tmp python3 -m http.server 8080")
	p.ctl("network", "publish", fmt.Sprintf("%d:8080", port)).ok()
	url := fmt.Sprintf("http://127.0.0.1:%d/page", port)
	p.eventually("the port answers", func() bool {
		r, err := http.Get(url)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		return string(text) == "from the guest\n"
	})
	var list []struct {
		Ports []struct{ Host, Guest int }
	}
	if err := json.Unmarshal([]byte(p.ctl("list", "--json").ok().stdout), &list); err != nil {
		p.t.Fatal(err)
	}
	found := false
	for _, l := range list {
		found = found || len(l.Ports) == 1 && l.Ports[0].Host == port && l.Ports[0].Guest == 8080
	}
	if !found {
		p.t.Errorf("list: %+v", list)
	}
	if r := p.ctl("network", "publish", fmt.Sprint(port)); r.status != 1 || !strings.Contains(r.stderr, "address already in use") {
		p.t.Errorf("a port that is in use: %d, %s", r.status, r.stderr)
	}
	p.ctl("network", "unpublish", fmt.Sprint(port)).ok()
	if r, err := http.Get(url); err == nil {
		r.Body.Close()
		p.t.Error("the port is still open")
	}
}

// TestNetworkSave checks that a change that is not valid leaves no file.
func TestNetworkSave(t *testing.T) {
	t.Parallel()
	p := newProject(t, "save")
	p.vmFile("[Network]\nMode=none\n")
	r := p.ctl("network", "--save", "publish", "80")
	if r.status != 1 || !strings.Contains(r.stderr, "not saved: ") || !strings.Contains(r.stderr, "cannot publish a port with Mode=none") {
		t.Errorf("status %d, %s", r.status, r.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("HOME"), ".config/claude-vm", "*.vm.d/50-network.conf")); slices.ContainsFunc(left, func(path string) bool { return strings.Contains(path, "TestNetworkSave") }) {
		t.Errorf("left: %v", left)
	}
	if r := p.ctl("network"); r.status != 120 || !strings.Contains(r.stdout, "      Mode: none\n") {
		t.Errorf("network of a VM that does not run: %d, %s%s", r.status, r.stdout, r.stderr)
	}
}
