package preflight

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// This file knows how the distributions name things.

// Package is a package by the distributions' names for it; nix is that of nixpkgs.
type Package struct{ what, apt, dnf, pacman, nix string }

var (
	EditorPackage    = Package{what: "nano", apt: "nano", dnf: "nano", pacman: "nano", nix: "nano"}
	virtiofsdPackage = Package{what: "virtiofsd", apt: "virtiofsd", dnf: "virtiofsd", pacman: "virtiofsd", nix: "virtiofsd"}
)

var QEMUProgram, qemuPackage = qemuOn(runtime.GOARCH)

// qemuOn is what runs guests of an architecture, which has Go's name.
func qemuOn(arch string) (program string, p Package) {
	if arch == "arm64" {
		return "qemu-system-aarch64", Package{what: "QEMU", apt: "qemu-system-arm", dnf: "qemu-system-aarch64", pacman: "qemu-system-aarch64", nix: "qemu_kvm"}
	}
	return "qemu-system-x86_64", Package{what: "QEMU", apt: "qemu-system-x86", dnf: "qemu-system-x86", pacman: "qemu-base", nix: "qemu_kvm"}
}

// Install is the command, or for NixOS the option, that installs it here.
func (p Package) Install() string { return p.installOn(family(osRelease())) }

func (p Package) installOn(family string) string {
	switch family {
	case "debian":
		return "sudo apt install " + p.apt
	case "fedora":
		return "sudo dnf install " + p.dnf
	case "arch":
		return "sudo pacman -S " + p.pacman
	case "nixos":
		return fmt.Sprintf("environment.systemPackages = [ pkgs.%s ];", p.nix)
	}
	return fmt.Sprintf("install %s: it is called %s, %s or %s elsewhere", p.what, p.apt, p.dnf, p.pacman)
}

// OnNixOS returns the option of NixOS, or what is typed elsewhere.
func OnNixOS(option, command string) string {
	if family(osRelease()) == "nixos" {
		return option
	}
	return command
}

// FixUnits is what puts the units there that belong to this program.
func FixUnits() string {
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	return fixUnitsOf(self)
}

// fixUnitsOf is what puts a program's units there: the Makefile, but a configuration
// for one in Nix's store.
func fixUnitsOf(program string) string {
	if InStore(program) {
		return "programs.claude-vm.enable = true; by NixOS or Home Manager"
	}
	return "make install && systemctl --user daemon-reload"
}

// InStore reports whether Nix has built what is at a path, which nobody changes there.
func InStore(path string) bool { return strings.HasPrefix(path, "/nix/store/") }

// osRelease is the text of os-release(5).
func osRelease() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		text, _ = os.ReadFile("/usr/lib/os-release")
	}
	return string(text)
}

// family is the distribution that os-release names, or one that it is like; empty
// if it is none that is known here.
func family(osRelease string) string {
	var names []string
	for line := range strings.Lines(osRelease) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); name {
		case "ID":
			names = slices.Insert(names, 0, value)
		case "ID_LIKE":
			names = append(names, strings.Fields(value)...)
		}
	}
	for _, name := range names {
		if slices.Contains([]string{"debian", "fedora", "arch", "nixos"}, name) {
			return name
		}
	}
	return ""
}
