// Package preflight checks the host: the requirements that the setup unit checks before
// each start, and further ones that doctor reports. A check that returns a string returns
// what it has found, for doctor to print, for example "7.2.11, /usr/bin/qemu-system-x86_64".
// The error has a hint, and is a Warning if VMs start nevertheless.
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

// Host checks the requirements of a start: the programs, the guest bundle in a directory,
// and user namespaces.
func Host(qemu, virtiofsd, guest string) error {
	_, qemuErr := FindQEMU(qemu)
	_, virtiofsdErr := FindVirtiofsd(virtiofsd)
	return cmp.Or(qemuErr, virtiofsdErr, Bundle(guest), UserNamespaces())
}

// FindQEMU returns the path of QEMU. program is a name to search in $PATH, or a path.
func FindQEMU(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", failure.New(failure.HostUnable, qemuPackage.Install(), "%s is not installed", program)
	}
	return path, nil
}

// FindVirtiofsd returns the path of virtiofsd, which distributions install outside of $PATH.
// It does not search /usr/lib/qemu, which has a different program of this name in QEMU 7.
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

// FixBundle returns the hint for an invalid or old bundle: how to build it again. The directory
// may be a symbolic link.
func FixBundle(dir string) string {
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		dir = path
	}
	if InStore(dir) {
		return "nix flake update, then build the guest and claude-vm from the same inputs"
	}
	return makeGuest
}

// Bundle checks that the guest bundle in a directory is complete and has the contract
// version of this program.
func Bundle(dir string) error {
	incomplete := func(err error) error {
		return failure.New(failure.HostUnable, FixBundle(dir), "the guest bundle is incomplete: %w", failure.Plain(err))
	}
	for _, name := range []string{"kernel", "initrd", "root.erofs", "guest.env"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && info.Size() == 0 {
			err = fmt.Errorf("%s is empty", filepath.Join(dir, name))
		}
		if err != nil {
			return incomplete(err)
		}
	}
	env, err := BundleEnvironment(dir)
	if err != nil {
		return incomplete(err)
	}
	if env["GUEST_APPEND"] == "" {
		return incomplete(fmt.Errorf("no GUEST_APPEND= in %s", filepath.Join(dir, "guest.env")))
	}
	// Without GUEST_CONTRACT=, the agent in the guest checks the version after the boot.
	if text := env["GUEST_CONTRACT"]; text != "" && text != strconv.Itoa(contract.Version) {
		return failure.New(failure.HostUnable, FixBundle(dir), "the guest bundle in %s has version %s of the contract, the host has version %d", dir, text, contract.Version)
	}
	return nil
}

// BundleEnvironment returns the variables in guest.env of a bundle, which has the format of
// EnvironmentFile=.
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

// UserNamespaces checks that this user can create a user namespace. It creates one, because
// several sysctls and security modules can prevent it.
func UserNamespaces() error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = namespaces(0)
	err := cmd.Run()
	if err == nil {
		return nil
	}
	return failure.New(failure.HostUnable, permitUserNamespaces(), "user namespaces are not permitted: %w", err)
}

// Proc checks that a process in namespaces of its own can mount /proc, as virtiofsd does. The kernel does
// not permit it where a container covers parts of /proc.
func Proc() error {
	cmd := exec.Command("mount", "-t", "proc", "proc", "/proc")
	cmd.SysProcAttr = namespaces(syscall.CLONE_NEWPID)
	if out, err := cmd.CombinedOutput(); err != nil {
		return failure.New(failure.HostUnable, "if this is a container, uncover its /proc, for example with podman run --security-opt unmask=ALL",
			"virtiofsd cannot mount /proc: %w: %s", err, failure.OneLine(strings.TrimSpace(string(out))))
	}
	return nil
}

// namespaces returns the attributes of a process that is root of a new user namespace.
func namespaces(others uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | others,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// permitUserNamespaces returns the command that permits user namespaces on this machine.
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

// AgentSocket returns the path of the caller's SSH agent's socket. It returns an error if the
// socket does not accept connections.
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
