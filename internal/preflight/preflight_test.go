package preflight

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// describe returns the result of a check in one line, similar to doctor's output.
func describe(fact string, err error) string {
	switch {
	case err == nil:
		return fmt.Sprintf("ok: %s; fix: ", fact)
	case IsWarning(err):
		return fmt.Sprintf("warn: %v; fix: %s", err, failure.HintOf(err))
	}
	return fmt.Sprintf("fail: %v; fix: %s", err, failure.HintOf(err))
}

func TestFamily(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\n": "debian",
		"NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n":       "debian",
		"ID_LIKE=\"rhel centos fedora\"\nID=\"almalinux\"\n": "fedora",
		"ID=nixos":                       "nixos",
		"ID=endeavouros\nID_LIKE=arch\n": "arch",
		"ID=guix\n":                      "",
		"":                               "",
	} {
		if got := family(text); got != want {
			t.Errorf("family(%q) = %s, want %s", text, got, want)
		}
	}
	for family, want := range map[string]string{
		"debian": "sudo apt install qemu-system-x86",
		"fedora": "sudo dnf install qemu-system-x86",
		"arch":   "sudo pacman -S qemu-base",
		"nixos":  "environment.systemPackages = [ pkgs.qemu_kvm ];",
		"":       "install QEMU; other distributions name the package qemu-system-x86, qemu-system-x86 or qemu-base",
	} {
		if _, p := qemuOn("amd64"); p.installOn(family) != want {
			t.Errorf("on %s: %s, want %s", family, p.installOn(family), want)
		}
	}
	for family, want := range map[string]string{
		"debian": "sudo apt install qemu-system-arm",
		"fedora": "sudo dnf install qemu-system-aarch64",
		"arch":   "sudo pacman -S qemu-system-aarch64",
	} {
		if program, p := qemuOn("arm64"); p.installOn(family) != want || program != "qemu-system-aarch64" {
			t.Errorf("%s on %s: %s, want %s", program, family, p.installOn(family), want)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"7.1.0", "7.2", true}, {"7.2", "7.2", false}, {"7.2.0", "7.2", false}, {"10.0.13", "7.2", false}, {"1.9", "1.13", true}, {"1.13.2", "1.13", false},
	} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("older(%s, %s) = %v", c.a, c.b, got)
		}
	}
}

// TestMachine checks problems of the machine that a test can simulate.
func TestMachine(t *testing.T) {
	for want, check := range map[string]func() (string, error){
		"warn: unknown: USER is not set, and the user has no name in the user database; fix: ": func() (string, error) { return Linger("") },
		"warn: off: VMs stop at logout; fix: " + OnNixOS("users.users.NAME.linger = true;", "loginctl enable-linger"): func() (string, error) {
			return Linger("no/body")
		},
		"fail: /no/where: no such file or directory; fix: ": func() (string, error) { return RuntimeDirectory("/no/where") },
		"warn: only 0M and 0 files free in /proc; fix: du -a --inodes -h /proc | sort -h | tail": func() (string, error) {
			return RuntimeDirectory("/proc")
		},
		"fail: no Nonsense in /proc/meminfo; fix: ": func() (string, error) {
			_, err := MemoryInfo("Nonsense")
			return "", err
		},
	} {
		if got := describe(check()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	switch got := describe(Clock()); got {
	case "ok: synchronized; fix: ":
	case "warn: not synchronized; guests start with the same time; fix: " + OnNixOS("services.timesyncd.enable = true;", "sudo timedatectl set-ntp true"):
	default:
		t.Error(got)
	}
}

// program creates a shell script and returns its path.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckVersion(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"echo 'virtiofsd 1.13.2'", "ok: 1.13.2, PROGRAM; fix: "},
		{"echo 'QEMU emulator version 7.0.0 (Debian)'; echo more", "fail: PROGRAM is version 7.0.0, older than 7.2; fix: upgrade the distribution, or build QEMU from source"},
		{"echo none", `warn: PROGRAM --version prints no version number: "none"; fix: ` + qemuPackage.Install()},
		{"exit 3", "fail: PROGRAM --version: exit status 3; fix: " + qemuPackage.Install()},
	} {
		path := program(t, c.script)
		oldest := "1.13"
		if strings.Contains(c.script, "QEMU") {
			oldest = "7.2"
		}
		got := describe(checkVersion(context.Background(), path, oldest, qemuPackage))
		if want := strings.ReplaceAll(c.want, "PROGRAM", path); got != want {
			t.Errorf("%s: %s, want %s", c.script, got, want)
		}
	}
}

// TestHang checks the timeout for a program that hangs, with a child that keeps the pipe
// open.
func TestHang(t *testing.T) {
	start := time.Now()
	path := program(t, "sleep 60 & sleep 60")
	_, err := ProgramVersion(context.Background(), path)
	if want := path + " --version timed out"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if d := time.Since(start); d > 4*programTimeout {
		t.Errorf("it took %v", d)
	}
}

func TestBundle(t *testing.T) {
	complete := map[string]string{"kernel": "k", "initrd": "i", "root.erofs": "r", "guest.env": fmt.Sprintf("GUEST_APPEND=\"a b\"\nGUEST_CONTRACT=%d\n", contract.Version)}
	for _, c := range []struct{ name, text, want string }{
		{"", "", "ok: ; fix: "},
		{"kernel", "", "fail: the guest bundle is incomplete: DIR/kernel is empty; fix: make guest install"},
		{"guest.env", "GUEST_VERSION=x\n", "fail: the guest bundle is incomplete: no GUEST_APPEND= in DIR/guest.env; fix: make guest install"},
		{"guest.env", "GUEST_APPEND=a\n", "ok: ; fix: "},
		{"guest.env", "GUEST_APPEND=a\nGUEST_CONTRACT=1\n", "fail: the guest bundle in DIR has version 1 of the contract, the host has version " + strconv.Itoa(contract.Version) + "; fix: make guest install"},
	} {
		dir := t.TempDir()
		for name, text := range complete {
			if name == c.name {
				text = c.text
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got := describe("", Bundle(dir))
		if want := strings.ReplaceAll(c.want, "DIR", dir); got != want {
			t.Errorf("with %s %q: %s, want %s", c.name, c.text, got, want)
		}
	}
	dir := t.TempDir()
	if got, want := Bundle(dir), "the guest bundle is incomplete: "+dir+"/kernel: no such file or directory"; got == nil || got.Error() != want {
		t.Errorf("empty: %v, want %s", got, want)
	}
}

// TestBundleAge checks the warning about old bundles. Times in the Nix store are ignored.
func TestBundleAge(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"kernel", "initrd", "root.erofs"} {
		os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644)
	}
	env := filepath.Join(dir, "guest.env")
	os.WriteFile(env, []byte("GUEST_VERSION=\"debian-13 claude-2\"\nGUEST_APPEND=a\n"), 0o644)
	old := time.Now().Add(-maxAge - 24*time.Hour)
	for built, want := range map[time.Time]string{
		time.Unix(1, 0): "ok: debian-13 claude-2 in " + dir + "; fix: ",
		time.Now():      "ok: debian-13 claude-2 in " + dir + ", built " + time.Now().Format(time.DateOnly) + "; fix: ",
		old:             "warn: debian-13 claude-2 in " + dir + " was built " + old.Format(time.DateOnly) + ", and its Claude Code is as old; fix: guest/debian/update-claude && make guest install",
	} {
		if err := os.Chtimes(env, built, built); err != nil {
			t.Fatal(err)
		}
		if got := describe(BundleAge(dir)); got != want {
			t.Errorf("built %v: %s, want %s", built, got, want)
		}
	}
}

func TestFixesOfNix(t *testing.T) {
	for path, want := range map[string][2]string{
		"/nix/store/x-claude-vm/bin/x": {"set programs.claude-vm.enable = true; in NixOS or Home Manager", "nix flake update, then build the guest and claude-vm from the same inputs"},
		"/usr/local/x":                 {"make install && systemctl --user daemon-reload", "make guest install"},
		"":                             {"make install && systemctl --user daemon-reload", "make guest install"},
	} {
		if got := [2]string{fixUnitsOf(path), FixBundle(path)}; got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestFindVirtiofsd(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	_, err := FindVirtiofsd("no-virtiofsd")
	if got, want := describe("", err), "fail: virtiofsd is not installed; fix: "+virtiofsdPackage.Install(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	path := filepath.Join(dir, "virtiofsd")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := FindVirtiofsd("virtiofsd"); got != path || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

func TestFileEnvironment(t *testing.T) {
	got := FileEnvironment("../../units/claude-vm-setup@.service")
	want := map[string]string{"GUEST": "@guestdir@", "QEMU": "@qemu@", "VIRTIOFSD": "@virtiofsd@",
		"INJECT":    "ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN",
		"READ_ONLY": ".git/hooks .git/config .git/config.worktree .claude/settings.json .claude/settings.local.json .mcp.json .envrc .vscode"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mismatch (-want +got):\n%s", diff)
	}
}
