package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

type doctorVerb struct{ json bool }

func (d *doctorVerb) register(app *kingpin.Application) string {
	cmd := app.Command("doctor", "Check everything that the machine must have, and tell what mends it.")
	cmd.Flag("json", "For scripts.").BoolVar(&d.json)
	return cmd.FullCommand()
}

// finding is the result of one check. Its JSON names are an interface.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warn or fail
	Reason string `json:"reason,omitempty"`
	Mend   string `json:"mend,omitempty"` // a command, or what to do
}

// trouble is a check's bad result.
type trouble struct {
	error
	mend string
	warn bool
}

func (d *doctorVerb) run(ctx context.Context, out *output) (int, error) {
	findings := diagnose(ctx)
	status := 0
	for _, f := range findings {
		if f.State == "fail" {
			status = exitHostUnable
		}
	}
	if d.json {
		return status, json.NewEncoder(out.stdout).Encode(findings)
	}
	return status, printFindings(out.stdout, findings)
}

func printFindings(w io.Writer, findings []finding) error {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-4s  %s", f.State, f.Check)
		if f.Reason != "" {
			fmt.Fprintf(&b, ": %s", f.Reason)
		}
		b.WriteByte('\n')
		if f.Mend != "" {
			fmt.Fprintf(&b, "      mend: %s\n", f.Mend)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// diagnose makes all checks, those of the setup unit first.
func diagnose(ctx context.Context) []finding {
	settings := unitSettings(ctx)
	checks := []struct {
		name string
		run  func() error
	}{
		{"user manager", func() error { return settings.err }},
		{"units", func() error { return settings.units }},
		{"QEMU", func() error { return checkQEMU(settings.qemu) }},
		{"virtiofsd", func() error { return checkVirtiofsd(settings.virtiofsd) }},
		{"guest bundle", func() error { return checkGuest(settings.guest) }},
		{"user namespaces", checkUserNamespaces},
		{"KVM", checkKVM},
		{"lingering", checkLinger},
	}
	var findings []finding
	for _, c := range checks {
		f := finding{Check: c.name, State: "ok"}
		if err := c.run(); err != nil {
			f.State, f.Reason = "fail", err.Error()
			var t *trouble
			if errors.As(err, &t) {
				f.Mend = t.mend
				if t.warn {
					f.State = "warn"
				}
			}
		}
		findings = append(findings, f)
	}
	return findings
}

// settings are what the units say about the host, read from the user manager:
// the unit files are the only place that knows.
type settings struct {
	err, units             error
	qemu, virtiofsd, guest string
}

func unitSettings(ctx context.Context) settings {
	s := settings{qemu: "qemu-system-x86_64", virtiofsd: "virtiofsd"}
	v := &vm{id: "-"}
	var err error
	if v.env, err = instance.HostEnvironment(); err == nil {
		v.manager, err = manager.Dial(ctx)
	}
	if err != nil {
		s.err = &trouble{error: err, mend: "log in as yourself (ssh, machinectl shell), not by su or sudo"}
		s.units = errors.New("cannot be told without the user manager")
		return s
	}
	defer v.manager.Close()
	if err := v.ensureUnits(ctx); err != nil {
		s.units = &trouble{error: err, mend: "make install, then systemctl --user daemon-reload"}
		return s
	}
	env, err := v.manager.Environment(ctx, instance.SetupUnit(v.id))
	if err != nil {
		s.units = err
		return s
	}
	s.qemu, s.virtiofsd, s.guest = env["QEMU"], env["VIRTIOFSD"], env["GUEST"]
	return s
}

// checkHost is what the setup unit asks before each start.
func checkHost() error {
	for _, err := range []error{
		checkQEMU(os.Getenv("QEMU")), checkVirtiofsd(os.Getenv("VIRTIOFSD")),
		checkGuest(os.Getenv("GUEST")), checkUserNamespaces(),
	} {
		var t *trouble
		if errors.As(err, &t) && t.mend != "" {
			return fmt.Errorf("%w; mend: %s", t.error, t.mend)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkQEMU(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return &trouble{error: fmt.Errorf("%s is not installed", program), mend: "apt install qemu-system-x86, dnf install qemu-kvm, pacman -S qemu-base"}
	}
	return nil
}

func checkVirtiofsd(program string) error {
	if _, err := findVirtiofsd(program); err != nil {
		return &trouble{error: errors.New("virtiofsd is not installed"), mend: "apt install virtiofsd, dnf install virtiofsd, pacman -S virtiofsd"}
	}
	return nil
}

func checkGuest(dir string) error {
	for _, name := range []string{"kernel", "initrd", "root.erofs", "guest.env"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return &trouble{error: fmt.Errorf("the guest bundle is not whole: %w", plain(err)), mend: "make guest install"}
		}
	}
	return nil
}

// checkUserNamespaces makes one: sysctls and security modules each have their
// own way to forbid it.
func checkUserNamespaces() error {
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
	mend := "sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000"
	if text, _ := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); strings.TrimSpace(string(text)) == "1" {
		mend = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with userns for virtiofsd and the user manager"
	}
	return &trouble{error: fmt.Errorf("user namespaces are not permitted: %w", err), mend: mend}
}

func checkKVM() error {
	err := kvmUsable()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return &trouble{error: fmt.Errorf("%w: the VM is emulated, several times slower", err), mend: "enable virtualisation in the firmware, or nested virtualisation for a VM; modprobe kvm_intel or kvm_amd", warn: true}
	}
	return &trouble{error: fmt.Errorf("%w: the VM is emulated, several times slower", err), mend: "usermod -aG kvm $USER, then log in again", warn: true}
}

func checkLinger() error {
	name := os.Getenv("USER")
	if _, err := os.Stat(filepath.Join("/var/lib/systemd/linger", name)); name == "" || err == nil {
		return nil
	}
	return &trouble{error: errors.New("off: VMs end when you log out"), mend: "loginctl enable-linger", warn: true}
}
