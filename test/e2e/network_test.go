//go:build e2e

package e2e

import (
	"bytes"
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

// TestSecrets checks that the API key works, and is nowhere in the guest.
func TestSecrets(t *testing.T) {
	t.Parallel()
	p := newProject(t, "secrets")
	p.certificates()
	token := filepath.Join(filepath.Dir(p.dir), "token")
	p.vmFile("[Claude]\nEnvironment=ANTHROPIC_BASE_URL=https://api.anthropic.com\n[Network]\nMode=allow\nExtraCA=/srv/ca.pem\n" +
		"Inject=GIT_TOKEN:git.test:basic\nInjectCommand=" + word("GIT_TOKEN=cat "+token) + "\n")
	os.Remove(token) // of an earlier run of this test
	p.ctl("start").fails(122, "the VM on "+p.dir+" did not start: InjectCommand=GIT_TOKEN: exit status 1: cat: "+token+": No such file or directory", "claude-vm-ctl logs")
	writeFile(token, "an-expired-token\n")
	p.start()
	// The command runs again when a server does not accept the secret.
	writeFile(token, "git-token-0123456789\n")
	p.eventually("the secret is renewed", func() bool {
		return p.ctl("shell", ".", "--", "git", "ls-remote", "https://git.test/project.git").status == 0
	})
	// Claude Code itself, with what it needs to write a file.
	r := p.ctl("shell", ".", "--", "claude", "--dangerously-skip-permissions", "-p", "create made: in the guest").ok()
	if got := p.read("made"); got != "in the guest" {
		t.Errorf("Claude made %q: %s%s", got, r.stdout, r.stderr)
	}
	// git over https.
	p.guest(`git config --global user.email a@b; git config --global user.name a; git clone -q https://git.test/project.git repo; cd repo
		git commit -q --allow-empty -m one; git push -q origin HEAD:refs/heads/` + filepath.Base(p.dir))
	if got := p.guest("git ls-remote https://git.test/project.git"); !strings.Contains(got, "refs/heads/"+filepath.Base(p.dir)) {
		t.Errorf("git push: %s", got)
	}
	pid := p.property("MainPID")
	for _, secret := range []string{apiKey, "git-token-0123456789"} {
		if n := p.memory(pid, secret); n > 0 {
			t.Errorf("%q is in the memory of the guest, %d times", secret, n)
		}
		for _, file := range []string{"environ", "cmdline"} {
			if text, err := os.ReadFile(filepath.Join("/proc", pid, file)); err != nil || bytes.Contains(text, []byte(secret)) {
				t.Errorf("%q is in %s of QEMU, %v", secret, file, err)
			}
		}
		if text := p.command("grep", "-r", secret, filepath.Join(p.rootOf(p.unit()), "run/user")).stdout; text != "" {
			t.Errorf("%q is in a file that QEMU sees: %s", secret, text)
		}
	}
	// The search itself works.
	if p.memory(pid, "sk-ant-claude-vm-ANTHROPIC-API-KEY") == 0 {
		t.Error("the placeholder was not found in the memory of the guest")
	}
	// A caller's key, and a restart, which uses it again.
	p.ctl("stop", ".").ok()
	const own = "sk-ant-callers-key-0123456789"
	p.command("env", "ANTHROPIC_API_KEY="+own, "claude-vm-ctl", "start").ok()
	p.ctl("restart", ".").ok()
	if got := p.guest("curl -sS -H \"x-api-key: $ANTHROPIC_API_KEY\" http://gateway.internal/v1/nothing >&2; echo $ANTHROPIC_BASE_URL"); got != "http://gateway.internal\n" {
		t.Errorf("after a restart: %s", got)
	}
	if n := p.memory(p.property("MainPID"), own); n > 0 {
		t.Errorf("the caller's key is in the memory of the guest, %d times", n)
	}
	text, err := os.ReadFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm/."+p.id+".secrets"))
	if err != nil || !bytes.Contains(text, []byte(own)) {
		t.Errorf("the gateway does not have the caller's key after a restart: %v", err)
	}
}

// memory returns how often a text is in the memory of QEMU's guest.
func (p *project) memory(pid, text string) (n int) {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join("/proc", pid, "fd/*"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		if target, _ := os.Readlink(file); !strings.HasPrefix(target, "/memfd:memory-backend") {
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			p.t.Fatal(err)
		}
		defer f.Close()
		buf := make([]byte, 1<<20)
		keep := 0
		for {
			got, err := f.Read(buf[keep:])
			n += bytes.Count(buf[:keep+got], []byte(text))
			if err == io.EOF {
				return n
			}
			if err != nil {
				p.t.Fatal(err)
			}
			end := keep + got
			keep = copy(buf, buf[max(0, end-len(text)+1):end])
		}
	}
	p.t.Fatal("the memory of the guest was not found")
	return 0
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

// TestToken checks a login token in place of a key: Claude Code sends it in another header.
func TestToken(t *testing.T) {
	t.Parallel()
	p := newProject(t, "token")
	const token = "sk-ant-oat01-test-0123456789012345678901234567890123456789"
	file := filepath.Join(filepath.Dir(p.dir), "oauth")
	writeFile(file, token+"\n")
	p.vmFile("[Claude]\nCredential=\nCredential=CLAUDE_CODE_OAUTH_TOKEN:" + file + "\n")
	r := p.ctl("run", ".", "--", "-p", "say: the token works").ok()
	if r.stdout != "the token works\n" {
		t.Errorf("Claude answered %q", r.stdout)
	}
	for _, r := range api.Requests() {
		if r.LastUserText == "say: the token works" {
			if got := r.Header.Get("Authorization"); got != "Bearer "+token || r.Header.Get("X-Api-Key") != "" {
				t.Errorf("the API received %q and the key %q", got, r.Header.Get("X-Api-Key"))
			}
			return
		}
	}
	t.Error("the API did not receive the prompt")
}
