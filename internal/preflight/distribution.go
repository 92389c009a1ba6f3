package preflight

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Package contains the names of a program's package in each distribution. project is the
// name of the program itself, for messages.
type Package struct{ project, apt, dnf, pacman, nix string }

var (
	EditorPackage     = Package{project: "nano", apt: "nano", dnf: "nano", pacman: "nano", nix: "nano"}
	erofsPackage      = Package{project: "erofs-utils", apt: "erofs-utils", dnf: "erofs-utils", pacman: "erofs-utils", nix: "erofs-utils"}
	mmdebstrapPackage = Package{project: "mmdebstrap", apt: "mmdebstrap", dnf: "mmdebstrap", pacman: "mmdebstrap", nix: "mmdebstrap"}
	npmPackage        = Package{project: "npm", apt: "npm", dnf: "npm", pacman: "npm", nix: "nodejs"}
	skopeoPackage     = Package{project: "skopeo", apt: "skopeo", dnf: "skopeo", pacman: "skopeo", nix: "skopeo"}
	virtiofsdPackage  = Package{project: "virtiofsd", apt: "virtiofsd", dnf: "virtiofsd", pacman: "virtiofsd", nix: "virtiofsd"}
)

// QEMUProgram is the name of QEMU's program for guests of this machine's architecture.
var QEMUProgram, qemuPackage = qemuOn(runtime.GOARCH)

// qemuOn returns QEMU's program and package for guests of an architecture, a GOARCH value.
func qemuOn(arch string) (program string, p Package) {
	if arch == "arm64" {
		return "qemu-system-aarch64", Package{project: "QEMU", apt: "qemu-system-arm", dnf: "qemu-system-aarch64", pacman: "qemu-system-aarch64", nix: "qemu_kvm"}
	}
	return "qemu-system-x86_64", Package{project: "QEMU", apt: "qemu-system-x86", dnf: "qemu-system-x86", pacman: "qemu-base", nix: "qemu_kvm"}
}

// Install returns the hint for a missing package: the command that installs it on this
// distribution, the option for NixOS, or text that names the package.
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
	return fmt.Sprintf("install %s; other distributions name the package %s, %s or %s", p.project, p.apt, p.dnf, p.pacman)
}

// OnNixOS returns option on NixOS and command on other distributions.
func OnNixOS(option, command string) string {
	if family(osRelease()) == "nixos" {
		return option
	}
	return command
}

// FixUnits returns the hint for units that are missing or have another version: how to
// install the units of this program.
func FixUnits() string {
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	return fixUnitsOf(self)
}

// fixUnitsOf is FixUnits for the claude-vm-ctl with the path program. A program in the Nix store
// is not installed by the Makefile.
func fixUnitsOf(program string) string {
	if InStore(program) {
		return "set programs.claude-vm.enable = true; in NixOS or Home Manager"
	}
	return "make install && systemctl --user daemon-reload"
}

// InStore reports whether a path is in the Nix store, where files cannot be changed.
func InStore(path string) bool { return strings.HasPrefix(path, "/nix/store/") }

// osRelease returns the content of os-release(5).
func osRelease() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		text, _ = os.ReadFile("/usr/lib/os-release")
	}
	return string(text)
}

// family returns the known distribution in ID= or ID_LIKE= of os-release, or an empty
// string.
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
