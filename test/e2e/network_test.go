//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// The Internet of these tests is in test/internet.

// fetch runs curl in the guest as root, and returns what it prints and its exit status.
func (p *project) fetch(url string) (string, int) {
	p.t.Helper()
	r := p.root("curl -sS --max-time 20 --cacert ca.pem " + url + " 2>&1")
	return r.stdout, r.status
}

// certificates copies the CA of the Internet to the work directory.
func (p *project) certificates() {
	p.t.Helper()
	p.command("cp", "/srv/ca.pem", "ca.pem").ok()
}

// decisions returns the entries of the gateway's journal with a decision.
func (p *project) decisions() (entries []map[string]any) {
	p.t.Helper()
	out := p.command("journalctl", "--user", "--output=json", "--unit="+instance.Gateway.Unit(p.id), "_SYSTEMD_USER_UNIT="+instance.Gateway.Unit(p.id)).ok().stdout
	for line := range strings.Lines(out) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			p.t.Fatal(err)
		}
		if e["CLAUDE_VM_DECISION"] != nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// wantDecision waits until the journal has a decision about a name or an address.
func (p *project) wantDecision(decision, name, address, port string) {
	p.t.Helper()
	p.eventually(decision+" "+name+address+" is in the journal", func() bool {
		for _, e := range p.decisions() {
			if e["CLAUDE_VM_DECISION"] == decision && (name == "" || e["CLAUDE_VM_NAME"] == name) &&
				(address == "" || e["CLAUDE_VM_ADDRESS"] == address) && e["CLAUDE_VM_PORT"] == port && e["SYSLOG_IDENTIFIER"] == "claude-vm-gateway" {
				return true
			}
		}
		return false
	})
}

// TestInternet checks Mode=internet, the default: what root in the guest reaches.
func TestInternet(t *testing.T) {
	t.Parallel()
	p, other := newProject(t, "internet"), newProject(t, "other")
	p.certificates()
	other.vmFile("[Network]\nPublishPort=127.0.0.1:18080:80\n")
	other.start()
	p.start()
	for url, want := range map[string]string{
		"http://example.com/":     "example.com at 93.184.216.34:80\n",
		"https://example.com/":    "example.com at 93.184.216.34:443\n",
		"http://93.184.216.35/":   "93.184.216.35 at 93.184.216.35:80\n",
		"http://six.test/":        "six.test at [2606:2800::34]:80\n",
		"http://Example.COM:80/x": "Example.COM at 93.184.216.34:80\n",
	} {
		if got, status := p.fetch(url); got != want || status != 0 {
			t.Errorf("%s: %q, %d, want %q", url, got, status, want)
		}
	}
	p.wantDecision("allowed", "example.com", "93.184.216.34", "443")
	if got := strings.Fields(p.guest("cat /proc/sys/net/ipv4/tcp_rmem")); !slices.Equal(got, []string{"4096", "1048576", "6291456"}) {
		t.Errorf("tcp_rmem: %q", got)
	}
	if got, status := p.fetch("http://nosuch.test/"); status != 6 { // of curl: could not resolve host
		t.Errorf("a name that does not exist: %q, %d", got, status)
	}
	for target, address := range map[string]string{
		"127.1.2.3:80": "", "loopback.test:80": "127.0.0.1", "100.100.0.1:80": "100.100.0.1", "host.test:80": "100.100.0.1",
		"192.168.77.1:80": "192.168.77.1", "192.168.77.2:80": "192.168.77.2", "lan.test:80": "192.168.77.2", "intranet.test:80": "10.50.0.5",
		"169.254.169.254:80": "169.254.169.254", "meta.test:80": "169.254.169.254", "host.internal:18080": "", "10.0.2.2:18080": "10.0.2.2",
		fmt.Sprintf("host.internal:%d", apiPort): "", "0.0.0.0:80": "", "100.100.0.2:53": "100.100.0.2",
	} {
		got, status := p.fetch("http://" + target + "/")
		if status == 0 && !strings.Contains(got, "claude-vm denied the connection") {
			t.Errorf("%s was reached: %q", target, got)
		}
		if name, port, _ := strings.Cut(target, ":"); address != "" {
			if name == address {
				name = ""
			}
			p.wantDecision("denied", name, address, port)
		}
	}
	// UDP: allowed, but not QUIC and not to the network of the host.
	script := `python3 - <<'E'
import socket
for host, port in ("example.com", 123), ("example.com", 443), ("192.168.77.2", 123):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
    try: s.connect((host, port)); s.send(b"x"); print(s.recv(9))
    except OSError as e: print(type(e).__name__)
E`
	if got := p.root(script).stdout; got != "b'x'\nConnectionRefusedError\nConnectionRefusedError\n" {
		t.Errorf("UDP: %s", got)
	}
	p.wantNoNetworkOfQEMU()
}

// wantNoNetworkOfQEMU checks that QEMU is in another network namespace than the host, and
// that a process with its restrictions cannot create a socket other than UNIX sockets.
func (p *project) wantNoNetworkOfQEMU() {
	p.t.Helper()
	inside, err := os.Readlink(filepath.Join("/proc", p.property("MainPID"), "ns/net"))
	outside, _ := os.Readlink("/proc/self/ns/net")
	if err != nil || inside == outside {
		p.t.Errorf("QEMU's network namespace is %s, %v; the host's is %s", inside, err, outside)
	}
	if args := p.cmdline(); strings.Contains(args, "\nuser,") || !strings.Contains(args, "\n-netdev\nstream,") {
		p.t.Errorf("QEMU's network: %s", args)
	}
	p.ctl("stop", ".").ok()
	probe := `ExecStart=/usr/bin/python3 -c "import socket, sys; socket.socket(socket.AF_UNIX); print(\"unix\", file=sys.stderr); socket.socket(%s)"`
	for _, family := range []string{"socket.AF_INET", "socket.AF_INET6", "16, socket.SOCK_RAW", "17, socket.SOCK_RAW"} { // netlink, packet
		p.dropin(p.unit(), "probe.conf", "ExecStart=", fmt.Sprintf(probe, family), "ExecStartPost=", "ExecStop=", "ExecStopPost=", "Type=oneshot")
		p.systemctl("start", p.unit())
		got := p.command("journalctl", "--user", "--output=cat", "_SYSTEMD_INVOCATION_ID="+p.property("InvocationID")).stdout
		if !strings.Contains(got, "unix\n") || !strings.Contains(got, "Address family not supported") && !strings.Contains(got, "Operation not permitted") {
			p.t.Errorf("socket(%s): %s", family, got)
		}
		p.systemctl("reset-failed", p.unit())
	}
}

// TestGatewayDies kills the gateway under load: the VM goes on, and the next connection works.
func TestGatewayDies(t *testing.T) {
	t.Parallel()
	p := newProject(t, "gateway")
	p.start()
	before := p.property("InvocationID")
	load := p.spawn("", "claude-vm-ctl", "shell", ".", "--", "sh", "-c", "while :; do curl -s http://example.com/ >/dev/null; done")
	unit := instance.Gateway.Unit(p.id)
	for i := range 20 {
		dead := p.mainPID(unit)
		p.systemctl("kill", "--signal=KILL", unit).ok()
		p.eventually("the gateway is killed", func() bool { return p.mainPID(unit) != dead })
		if got, status := p.fetch("http://example.com/"); status != 0 || !strings.HasPrefix(got, "example.com at ") {
			t.Fatalf("kill %d: the next connection: %q, %d", i, got, status)
		}
	}
	for _, verb := range []string{"reload", "restart"} {
		p.systemctl(verb, unit).ok()
		p.eventually("a connection after "+verb, func() bool { _, status := p.fetch("http://example.com/"); return status == 0 })
	}
	load.Process.Kill()
	p.systemctl("stop", unit).ok()
	if r := p.ctl("network"); r.status != 1 || !strings.Contains(r.stderr, "the gateway of the VM on "+p.dir+" does not run") || !strings.Contains(r.stderr, "hint: systemctl --user restart ") {
		t.Errorf("network without a gateway: %d, %s", r.status, r.stderr)
	}
	p.systemctl("restart", unit).ok()
	p.ctl("network").ok()
	if after := p.property("InvocationID"); after != before || p.property("ActiveState") != "active" {
		t.Error("the VM did not survive its gateway")
	}
	// A gateway that cannot start fails the start of the VM.
	p.ctl("stop", ".").ok()
	p.vmFile(fmt.Sprintf("[Network]\nPublishPort=%d\n", apiPort))
	r := p.ctl("start")
	if want := fmt.Sprintf("the VM on %s did not start: publish port 127.0.0.1:%d:%[2]d/tcp: bind: address already in use", p.dir, apiPort); r.status != 122 || !strings.Contains(r.stderr, want) {
		t.Errorf("start with a port that is in use: %d, %s, want %s", r.status, r.stderr, want)
	}
	p.systemctl("reset-failed", p.unit())
	p.systemctl("reset-failed", unit)
	p.wantGone()
}

// TestProxy checks a proxy with a password, which alone knows a name.
func TestProxy(t *testing.T) {
	t.Parallel()
	p := newProject(t, "proxy")
	p.certificates()
	text, err := os.ReadFile("/mnt/docs/examples/corporate.vm")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("[Claude]\n"))
	p.vmFile("[Claude]\n" + strings.NewReplacer("proxy.example.com", "100.100.0.2",
		"Mount=/etc/ssl/certs/ca-certificates.crt", "Mount=/srv/ca.pem", "ExtraCA=/etc/ssl/certs/ca-certificates.crt", "ExtraCA=/srv/ca.pem",
	).Replace(string(text)) + "Deny=denied.test\n")
	p.start()
	if got := p.guest("curl -sS https://proxied.test/; echo $npm_config_registry"); !strings.HasPrefix(got, "proxied.test at ") || !strings.HasSuffix(got, "https://npm.example.com/\n") {
		t.Errorf("with the host's certificates: %q", got)
	}
	if got, status := p.fetch("https://proxied.test/"); status != 0 || !strings.HasPrefix(got, "proxied.test at ") {
		t.Errorf("through the proxy: %q, %d", got, status)
	}
	for _, url := range []string{"https://intranet.test/", "https://denied.test/"} {
		if got, status := p.fetch(url); status == 0 {
			t.Errorf("%s: %q", url, got)
		}
	}
	if got := p.ctl("network").ok().stdout; !strings.Contains(got, "     Proxy: http://user:xxxxx@100.100.0.2:3128\n") {
		t.Errorf("network: %s", got)
	}
	if text := p.command("grep", "-r", "user:password", filepath.Join(p.rootOf(p.unit()), "run/user")).stdout; text != "" {
		t.Errorf("the proxy's password is in a file that QEMU sees: %s", text)
	}
}
