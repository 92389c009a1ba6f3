package vmfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// me is a user whose directories have no files.
var me = instance.Paths{
	User: "me", UID: "1000", Home: "/home/me", Runtime: "/run/user/1000",
	Config: "/home/me/.config", State: "/home/me/.local/state", Cache: "/home/me/.cache",
}

// load returns the errors of a .vm file.
func load(t *testing.T, text string) []*failure.Error {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "web.vm"), text)
	return Load([]string{dir}, me).Errors
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLoad reads a file with all keys, and a defaults.conf that changes the defaults.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "defaults.conf"), `[VM]
Memory=1G
Guest=/srv/guest
QEMUArguments=-a
[Claude]
Arguments=-a
Environment=A=1 B=2
Credential=X
[Share]
ReadOnly=a
Hide=b
Mount=/srv/a:/a
[Network]
PublishPort=1
[Unit]
After=a.service
[Service]
CPUWeight=1
`)
	write(t, filepath.Join(dir, "web.vm"), `[VM]
WorkDirectory=/srv/web
CPUs=2
Accelerator=tcg
QEMUArguments=-b
[Claude]
Arguments=-b
SkipPermissions=yes
Terminal=no
Environment=A=3
Credential=X:/srv/x
SettingsFile=/srv/settings
Home=project
[Share]
ReadOnly=b a
Hide=
Mount=/srv/b:/b:ro
[Network]
PublishPort=2
[Unit]
After=b.service
[Service]
CPUWeight=2
[Install]
WantedBy=default.target
`)
	want := Set{Defaults: vm.Default()}
	d := &want.Defaults
	d.Source = []string{dir + "/defaults.conf"}
	d.Memory, d.Guest, d.QEMUArguments, d.Arguments, d.Environment = 1<<30, "/srv/guest", []string{"-a"}, []string{"-a"}, []string{"A=1", "B=2"}
	d.Credentials, d.ReadOnly, d.Hide = append(d.Credentials, vm.Credential{Name: "X"}), append(d.ReadOnly, "a"), []string{"b"}
	d.Mounts = []vm.Mount{{Host: "/srv/a", Guest: "/a"}}
	d.Ports = []vm.Port{{Protocol: "tcp", Address: "127.0.0.1", Host: 1, Guest: 1}}
	d.Unit = []unitfile.Entry{{Section: "Unit", Key: "After", Value: "a.service", Line: 16}}
	d.Service = []unitfile.Entry{{Section: "Service", Key: "CPUWeight", Value: "1", Line: 18}}
	v := d.Clone()
	v.Name, v.Source, v.WorkDirectory = "web", []string{dir + "/web.vm"}, "/srv/web"
	v.CPUs, v.Accelerator, v.QEMUArguments, v.Arguments = 2, "tcg", []string{"-a", "-b"}, []string{"-a", "-b"}
	v.SkipPermissions, v.Terminal, v.Environment = true, "no", []string{"B=2", "A=3"}
	v.Credentials[len(v.Credentials)-1].Path = "/srv/x"
	v.SettingsFile, v.Home, v.ReadOnly, v.Hide = "/srv/settings", "project", append(v.ReadOnly, "b"), nil
	v.Mounts = append(v.Mounts, vm.Mount{Host: "/srv/b", Guest: "/b", ReadOnly: true})
	v.Ports = append(v.Ports, vm.Port{Protocol: "tcp", Address: "127.0.0.1", Host: 2, Guest: 2})
	v.Unit = []unitfile.Entry{{Section: "Unit", Key: "After", Value: "b.service", Line: 21}}
	v.Service = []unitfile.Entry{{Section: "Service", Key: "CPUWeight", Value: "2", Line: 23}}
	v.Links = []vm.Link{{Target: "default.target", Kind: "wants"}}
	want.VMs = []vm.VM{v}
	if diff := cmp.Diff(want, Load([]string{dir}, me)); diff != "" {
		t.Errorf("Load() mismatch (-want +got):\n%s", diff)
	}
}

// TestLoadShares checks that VMs do not share lists with each other or with the defaults.
func TestLoadShares(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "defaults.conf"), "[Claude]\nArguments=0\nEnvironment=A=1 B=2 C=3\n[Share]\nHide=0\n")
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(dir, name+".vm"), "[VM]\nWorkDirectory=/srv/"+name+"\n[Claude]\nArguments="+name+"\nEnvironment=B="+name+"\n[Share]\nHide="+name+"\n")
	}
	set := Load([]string{dir}, me)
	for _, v := range set.VMs {
		got := [][]string{v.Arguments, v.Environment, v.Hide}
		want := [][]string{{"0", v.Name}, {"A=1", "C=3", "B=" + v.Name}, {"0", v.Name}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s mismatch (-want +got):\n%s", v.Name, diff)
		}
	}
	if diff := cmp.Diff([]string{"A=1", "B=2", "C=3"}, set.Defaults.Environment); diff != "" || len(set.VMs) != 3 {
		t.Errorf("%d VMs, and the defaults' environment mismatch (-want +got):\n%s", len(set.VMs), diff)
	}
}

func TestSearchPath(t *testing.T) {
	t.Setenv("CLAUDE_VM_UNIT_DIRS", "")
	want := []string{"/run/user/1000/claude-vm", "/home/me/.config/claude-vm", "/etc/claude-vm/user", "/usr/share/claude-vm/user"}
	if diff := cmp.Diff(want, SearchPath(me)); diff != "" {
		t.Errorf("SearchPath() mismatch (-want +got):\n%s", diff)
	}
	t.Setenv("CLAUDE_VM_UNIT_DIRS", "/a:/b")
	if diff := cmp.Diff([]string{"/a", "/b"}, SearchPath(me)); diff != "" {
		t.Errorf("SearchPath() mismatch (-want +got):\n%s", diff)
	}
}

func TestNearly(t *testing.T) {
	for _, pair := range [][2]string{{"memory", "memory"}, {"memroy", "memory"}, {"memor", "memory"}, {"memoryy", "memory"}, {"nemory", "memory"}, {"mem0ry", "memory"}, {"", "x"}, {"aa", "a"}, {"é", "e"}} {
		a, b := pair[0], pair[1]
		// é is two bytes: one replaced and one added.
		if want := a != "é"; nearly(a, b) != want || nearly(b, a) != want {
			t.Errorf("nearly(%q, %q) = %v, want %v", a, b, !want, want)
		}
	}
	for _, pair := range [][2]string{{"memo", "memory"}, {"memyro", "memory"}, {"hide", "home"}, {"", "ab"}, {"abcd", "badc"}} {
		if a, b := pair[0], pair[1]; nearly(a, b) || nearly(b, a) {
			t.Errorf("nearly(%q, %q)", a, b)
		}
	}
}

// TestReadFile checks that a file of the maximum size is read completely, and of a larger
// one a byte more, so that Parse rejects it.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	for size, want := range map[int]int{0: 0, unitfile.MaxSize: unitfile.MaxSize, 3 * unitfile.MaxSize: unitfile.MaxSize + 1} {
		name := filepath.Join(dir, "file")
		write(t, name, strings.Repeat("#", size))
		if text, err := readFile(name); len(text) != want || err != nil {
			t.Errorf("%d bytes: %d, %v, want %d", size, len(text), err, want)
		}
	}
	if _, err := readFile(dir); err == nil || err.Error() != "not a regular file" {
		t.Errorf("a directory: %v", err)
	}
}

// TestMaskedDefaults: an empty defaults.conf sets nothing, and what a .vm file resets is
// reset.
func TestMaskedDefaults(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, DefaultsFile), "")
	write(t, filepath.Join(dir, "web.vm"), "[VM]\nWorkDirectory=/srv/web\n[Share]\nReadOnly=\n")
	set := Load([]string{dir}, me)
	if diff := cmp.Diff(vm.Default(), set.Defaults); diff != "" || len(set.Errors) > 0 {
		t.Errorf("Defaults mismatch (-want +got):\n%s%v", diff, set.Errors)
	}
	if v := set.VMs[0]; v.Memory != vm.Default().Memory || v.ReadOnly != nil {
		t.Errorf("the VM: %+v", v)
	}
}
