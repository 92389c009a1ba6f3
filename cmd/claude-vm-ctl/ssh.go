package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// This file connects OpenSSH's programs to a VM, without a network: ssh(1) runs
// ssh-proxy and talks to the guest through its standard streams.

// Host names are claude-vm/NAME and NAME.claude-vm. The second form is for scp(1),
// rsync(1) and git(1), to which a slash before the colon means a local file.
const (
	sshPrefix = "claude-vm/"
	sshSuffix = ".claude-vm"
)

// sshHost returns the host name of an instance: the name of its .vm file, if that is a
// valid one, or its id. ssh(1) rejects backslashes.
func sshHost(id, file string) string {
	if name := strings.TrimSuffix(filepath.Base(file), vmfile.Suffix); file != "" && hostName.MatchString(name) {
		return name + sshSuffix
	}
	return strings.ReplaceAll(id, `\x`, "%") + sshSuffix
}

// hostName matches names that every program accepts as a host name.
var hostName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]*$`)

// sshInstance returns the instance that a host name refers to: a directory if the host name
// contains a slash, otherwise an id or the name of a .vm file.
func sshInstance(host string) (string, error) {
	name, found := strings.CutPrefix(host, sshPrefix)
	if !found {
		name, found = strings.CutSuffix(host, sshSuffix)
	}
	if !found || name == "" {
		return "", failure.New(failure.Usage, "claude-vm-ctl ssh-config", "%q is neither %sNAME nor NAME%s", host, sshPrefix, sshSuffix)
	}
	if strings.Contains(name, "/") {
		path, err := url.PathUnescape("/" + strings.TrimPrefix(name, "/"))
		if err != nil {
			return "", failure.New(failure.Usage, "ssh "+failure.Command(strings.ReplaceAll(host, "%", "%25")), "%q: %w", host, err)
		}
		return path, nil
	}
	return strings.ReplaceAll(name, "%", `\x`), nil
}

type sshConfigVerb struct{ forwardAgent bool }

func (s *sshConfigVerb) register(app *kingpin.Application) string {
	cmd := app.Command("ssh-config", "Print the lines for ~/.ssh/config with which ssh, scp, git and editors connect to VMs.")
	describe(cmd, "", "ssh-config >>~/.ssh/config")
	cmd.Flag("forward-agent", "Let the guest use your SSH agent while you are connected.").BoolVar(&s.forwardAgent)
	return cmd.FullCommand()
}

func (s *sshConfigVerb) run(_ context.Context, out *output) (int, error) {
	// Prefer the path in $PATH: if it is a link, it stays valid when its target is replaced.
	self, err := exec.LookPath(os.Args[0])
	if err == nil && !strings.HasPrefix(self, "/") {
		err = errors.New("a relative path")
	}
	if err != nil {
		if self, err = os.Executable(); err != nil {
			return 0, err
		}
	}
	forward := "no"
	if s.forwardAgent {
		forward = "yes"
	}
	_, err = fmt.Fprintf(out.stdout, `# The VMs of claude-vm: a .vm file's name, an id as "claude-vm-ctl status" shows
# it, or after the slash the path of a directory.
Host %s* *%s
	ProxyCommand %s ssh-proxy '%%n'
	User claude
	ForwardAgent %s
	ForwardX11 no
	# The guest needs no proof of who you are, and gets none: no password, not even the
	# names of your keys.
	PreferredAuthentications none
	PubkeyAuthentication no
	PasswordAuthentication no
	KbdInteractiveAuthentication no
	GSSAPIAuthentication no
	HostbasedAuthentication no
	# Only you can access the socket, and the guest has a new key at each start.
	StrictHostKeyChecking no
	UpdateHostKeys no
	UserKnownHostsFile /dev/null
	LogLevel ERROR
`, sshPrefix, sshSuffix, strings.ReplaceAll(failure.Command(self), "%", "%%"), forward)
	return 0, err
}

// sshProxyVerb connects its standard streams to the SSH server of a guest.
type sshProxyVerb struct{ host string }

func (s *sshProxyVerb) register(app *kingpin.Application) string {
	cmd := app.Command("ssh-proxy", "For ssh's ProxyCommand, see ssh-config.").Hidden()
	cmd.Arg("host", "").Required().StringVar(&s.host)
	return cmd.FullCommand()
}

func (s *sshProxyVerb) run(ctx context.Context, out *output) (int, error) {
	name, err := sshInstance(s.host)
	if err != nil {
		return 0, err
	}
	v := &target{}
	if v.paths, err = hostPaths(); err != nil {
		return 0, noManager(err)
	}
	search := findNamed // ignores directories, which would be relative to where ssh was called
	if filepath.IsAbs(name) {
		search = find
	}
	if v.id, v.dir, err = search(v.paths, name); err != nil {
		return 0, err
	}
	dialing, cancel := guest.WithTimeout(ctx)
	defer cancel()
	conn, err := guest.DialRaw(dialing, v.paths.RuntimeDirectory(v.id))
	if err != nil {
		return 0, v.dialError(err)
	}
	defer conn.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, out.stdin)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(out.stdout, conn)
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	return 0, err
}
