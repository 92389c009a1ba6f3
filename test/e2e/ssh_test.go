//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// sshConfig writes the output of ssh-config to a file and returns its name.
func (p *project) sshConfig() string {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(p.ctl("ssh-config").ok().stdout), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// agent starts an SSH agent on the host with one key. It returns the agent's socket and
// the file of the public key.
func (p *project) agent() (socket, key string) {
	p.t.Helper()
	dir := p.t.TempDir()
	socket, key = filepath.Join(dir, "agent"), filepath.Join(dir, "key")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "key of the host", "-f", key).ok()
	p.eventually("the agent listens", func() bool { _, err := os.Stat(socket); return err == nil })
	p.command("env", "SSH_AUTH_SOCK="+socket, "ssh-add", "-q", key).ok()
	if err := os.Remove(key); err != nil { // now only the agent has the private key
		p.t.Fatal(err)
	}
	return socket, key + ".pub"
}

// want compares the output of a command without leading and trailing spaces.
func (p *project) want(r result, want string) {
	p.t.Helper()
	if got := strings.TrimSpace(r.ok().stdout); got != want {
		p.t.Errorf("%s prints %q, want %q", r.what, got, want)
	}
}

func TestSSH(t *testing.T) {
	t.Parallel()
	p := newProject(t, "a project") // its id contains a backslash, like most
	socket, public := p.agent()
	p.command("env", "SSH_AUTH_SOCK="+socket, "claude-vm-ctl", "start", "--forward-agent", ".").ok()
	config := p.sshConfig()
	byID := strings.ReplaceAll(p.id, `\x`, "%") + ".claude-vm"
	ssh := func(args ...string) result { return p.command("ssh", append([]string{"-F", config}, args...)...) }

	p.want(ssh(byID, "id -un; pwd; exit 0"), "claude\n"+p.dir)
	p.want(ssh("root@claude-vm/"+strings.ReplaceAll(p.dir, " ", "%20"), "id -un"), "root")
	if r := ssh(byID, "echo out; echo err >&2; exit 7"); r.status != 7 || r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("ssh: %+v", r)
	}
	nobody := failure("no directory, id or .vm file has the name nobody", "claude-vm-ctl list --all")
	if r := ssh("claude-vm/nobody", "true"); r.status != 255 || r.stdout != "" || r.stderr != nobody {
		t.Errorf("ssh to no VM: %+v", r)
	}

	// Copy files in both directions, with all programs that use ssh.
	text := strings.Repeat("0123456789\n", 100_000)
	p.write("here", text)
	p.command("scp", "-q", "-F", config, "here", byID+":/tmp/there").ok()
	p.command("scp", "-q", "-F", config, byID+":/tmp/there", "back by scp").ok()
	p.input("get /tmp/there \"back by sftp\"\n", "sftp", "-q", "-b", "-", "-F", config, byID).ok()
	p.command("rsync", "-e", "ssh -F "+config, byID+":/tmp/there", "back by rsync").ok()
	for _, name := range []string{"back by scp", "back by sftp", "back by rsync"} {
		if p.read(name) != text {
			t.Errorf("%s differs from the file that was sent", name)
		}
	}
	p.guest("git init -q /tmp/repository && cd /tmp/repository && git -c user.name=x -c user.email=x@y commit -q --allow-empty -m 'from the guest'")
	p.command("env", "GIT_SSH_COMMAND=ssh -F "+config, "git", "clone", "-q", byID+":/tmp/repository", "clone").ok()
	p.want(p.command("git", "-C", "clone", "log", "--format=%s"), "from the guest")

	// Forward ports as editors do: with a shell that reads commands, and with SOCKS.
	socks, local := freePort(t), freePort(t)
	p.spawn("", "ssh", "-T", "-F", config, "-D", fmt.Sprint(socks), "-L", fmt.Sprintf("%d:localhost:7007", local), byID, "exec python3 -c '"+serveEcho+"'")
	p.eventually("-L forwards to the guest", func() bool { return answers(local, "local") })
	if got := throughSOCKS(t, socks, 7007, "socks"); got != "socks" {
		t.Errorf("-D: %q", got)
	}

	// A terminal has the size of the client's.
	e := p.terminal("ssh", 101, 31, "ssh -F "+config+" "+byID)
	e.shows(":" + p.dir + "$")
	e.keys("stty size; echo $TERM", "Enter")
	e.shows("31 101\n")

	// The guest can sign with the host's agent, also after a restart.
	sign := "cd /tmp; cat >key.pub; echo text >signed; rm -f signed.sig; ssh-keygen -q -Y sign -n file -f key.pub signed 2>&1; head -n 1 signed.sig"
	key, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	const signature = "-----BEGIN SSH SIGNATURE-----"
	p.want(p.input(string(key), "claude-vm-ctl", "shell", ".", "--", "sh", "-c", sign), signature)
	p.systemctl("restart", p.unit()).ok()
	p.want(p.input(string(key), "claude-vm-ctl", "shell", ".", "--", "sh", "-c", sign), signature)
	p.ctl("stop", ".").ok()
	p.wantGone()

	// Without --forward-agent at the start, the agent is available only on request, and
	// only for that command.
	p.command("env", "SSH_AUTH_SOCK="+socket, "claude-vm-ctl", "start", ".").ok()
	p.want(p.ctl("shell", ".", "--", "sh", "-c", "echo $SSH_AUTH_SOCK; ls -I 'git*' /run/claude-vm"), "")
	withAgent := func(args ...string) result {
		return p.input(string(key), "env", append([]string{"SSH_AUTH_SOCK=" + socket}, args...)...)
	}
	p.want(withAgent("claude-vm-ctl", "shell", "--forward-agent", ".", "--", "sh", "-c", sign), signature)
	p.want(withAgent("ssh", "-A", "-F", config, byID, sign), signature)
	if r := withAgent("ssh", "-F", config, byID, sign); strings.Contains(r.stdout, signature) {
		t.Error("without -A the guest can use the agent")
	}
	p.eventually("the sockets of the commands are removed", func() bool { return p.guest("ls -I 'git*' /run/claude-vm") == "" })
	p.root("mount -t tmpfs -o ro none /run/claude-vm").ok()
	withAgent("claude-vm-ctl", "shell", "-A", ".", "--", "true").fails(1, "forward the SSH agent: the guest rejected the request", "claude-vm-ctl logs")
	p.root("umount /run/claude-vm").ok()
	if out := p.systemctl("list-units", "--plain", "--no-legend", instance.SSHAgent.Unit(p.id)).ok().stdout; out != "" {
		t.Errorf("the agent's unit runs without --forward-agent: %s", out)
	}
}

// answers reports whether a port of the host is forwarded to the server of serveEcho.
func answers(port int, word string) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte(word + "\n")); err != nil {
		return false
	}
	buf := make([]byte, 100)
	n, _ := c.Read(buf)
	return string(buf[:n]) == word+"\n"
}

// throughSOCKS returns the answer of the echo server on a port of the guest, through a
// SOCKS5 server (RFC 1928) on the host.
func throughSOCKS(t *testing.T, socks, port int, word string) string {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", socks))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	const host = "localhost"
	talk := []struct {
		say  string
		hear int
	}{
		{"\x05\x01\x00", 2},
		{"\x05\x01\x00\x03" + string(rune(len(host))) + host + string([]byte{byte(port >> 8), byte(port)}), 10},
		{word + "\n", len(word)},
	}
	var heard []byte
	for _, turn := range talk {
		heard = make([]byte, turn.hear)
		if _, err := io.WriteString(c, turn.say); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, heard); err != nil {
			t.Fatal(err)
		}
	}
	return string(heard)
}

// serveEcho is a Python program that runs an echo server on the guest's loopback
// interface.
const serveEcho = `import socketserver
class Echo(socketserver.StreamRequestHandler):
	def handle(self):
		for line in self.rfile: self.wfile.write(line)
socketserver.ThreadingTCPServer(("127.0.0.1", 7007), Echo).serve_forever()
`
