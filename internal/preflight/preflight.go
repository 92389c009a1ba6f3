// Package preflight checks the host: what the setup unit must know before each start,
// and what doctor reports beside that.
package preflight

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// Host checks what every start needs: the programs, the guest bundle in a directory,
// and user namespaces.
func Host(qemu, virtiofsd, guest string) error {
	_, qemuErr := FindQEMU(qemu)
	_, virtiofsdErr := FindVirtiofsd(virtiofsd)
	return cmp.Or(qemuErr, virtiofsdErr, Bundle(guest), UserNamespaces())
}

// FindQEMU returns the path of QEMU.
func FindQEMU(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", failure.New(failure.HostUnable, qemuPackage.Install(), "%s is not installed", program)
	}
	return path, nil
}

// FindVirtiofsd finds virtiofsd where distributions put it, outside $PATH; not
// in /usr/lib/qemu, where QEMU 7 had another program of this name.
func FindVirtiofsd(name string) (string, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = []string{"/usr/libexec/" + name, "/usr/lib/" + name}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", failure.New(failure.HostUnable, virtiofsdPackage.Install(), "virtiofsd is not installed")
}

const makeGuest = "make guest install"

// FixBundle builds the bundle in a directory, or where a link leads, anew.
func FixBundle(dir string) string {
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		dir = path
	}
	if InStore(dir) {
		return "nix flake update, then build the guest and claude-vm from the same inputs"
	}
	return makeGuest
}

// Bundle checks that the guest bundle in a directory is complete and fits.
func Bundle(dir string) error {
	unfit := func(err error) error {
		return failure.New(failure.HostUnable, FixBundle(dir), "the guest bundle is not whole: %w", failure.Plain(err))
	}
	for _, name := range []string{"kernel", "initrd", "root.erofs", "guest.env"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && info.Size() == 0 {
			err = fmt.Errorf("%s is empty", filepath.Join(dir, name))
		}
		if err != nil {
			return unfit(err)
		}
	}
	env, err := BundleEnvironment(dir)
	if err != nil {
		return unfit(err)
	}
	if env["GUEST_APPEND"] == "" {
		return unfit(fmt.Errorf("no GUEST_APPEND= in %s", filepath.Join(dir, "guest.env")))
	}
	// One that does not say it is refused by its agent, when it has booted.
	if text := env["GUEST_CONTRACT"]; text != "" && text != strconv.Itoa(contract.Version) {
		return failure.New(failure.HostUnable, FixBundle(dir), "the guest bundle in %s speaks version %s of the contract, the host %d", dir, text, contract.Version)
	}
	return nil
}

// BundleEnvironment reads a bundle's guest.env, a file for EnvironmentFile=.
func BundleEnvironment(dir string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "guest.env"))
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if words, err := unitfile.Split(value); found && err == nil {
			env[name] = strings.Join(words, " ")
		}
	}
	return env, nil
}

// UserNamespaces makes one: sysctls and security modules each have their
// own way to forbid it.
func UserNamespaces() error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Run()
	if err == nil {
		return nil
	}
	return failure.New(failure.HostUnable, permitUserNamespaces(), "user namespaces are not permitted: %w", err)
}

func permitUserNamespaces() string {
	set := func(name, value string) bool {
		text, err := os.ReadFile(filepath.Join("/proc/sys", name))
		return err == nil && strings.TrimSpace(string(text)) == value
	}
	switch {
	case set("kernel/apparmor_restrict_unprivileged_userns", "1"):
		return "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with userns for virtiofsd and the user manager"
	case set("kernel/unprivileged_userns_clone", "0"):
		return OnNixOS(`boot.kernel.sysctl."kernel.unprivileged_userns_clone" = 1;`, "sudo sysctl kernel.unprivileged_userns_clone=1")
	}
	return "sudo sysctl user.max_user_namespaces=15000"
}

// AgentSocket returns the socket of the caller's SSH agent, which must answer.
func AgentSocket() (string, error) {
	const fix = `eval "$(ssh-agent)"; ssh-add`
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return "", failure.New(failure.HostUnable, fix, "SSH_AUTH_SOCK is not set: there is no SSH agent to forward")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", failure.New(failure.HostUnable, fix, "there is no SSH agent to forward: %w", err)
	}
	return socket, conn.Close()
}
