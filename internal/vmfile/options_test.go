package vmfile

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

func TestApply(t *testing.T) {
	base := vm.Default()
	base.Hide, base.CPUs = []string{".env"}, 2
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s := instance.Paths{Home: "/home/me"}
	for name, c := range map[string]struct {
		option Option
		change func(v *vm.VM)
	}{
		"one value": {
			Option{Flag: "--memory", Key: "Memory", Value: "1G", Literal: true},
			func(v *vm.VM) { v.Memory = 1 << 30 },
		},
		"an empty value is the built-in default": {
			Option{Flag: "--set", Key: "CPUs"},
			func(v *vm.VM) { v.CPUs = 4 },
		},
		"a literal word": {
			Option{Flag: "--env", Key: "Environment", Value: `A=x  "y" %h`, Literal: true},
			func(v *vm.VM) { v.Environment = []string{`A=x  "y" %h`} },
		},
		"a list as in a file": {
			Option{Flag: "--set", Key: "Environment", Value: `"A=x  y" B=%h`},
			func(v *vm.VM) { v.Environment = []string{"A=x  y", "B=/home/me"} },
		},
		"appended to a list": {
			Option{Flag: "--hide", Key: "Hide", Value: "a b", Literal: true},
			func(v *vm.VM) { v.Hide = []string{".env", "a b"} },
		},
		"an empty list": {
			Option{Flag: "--set", Key: "Hide"},
			func(v *vm.VM) { v.Hide = nil },
		},
		"a relative path": {
			Option{Flag: "--mount", Key: "Mount", Value: "a/../b:/mnt:ro", Literal: true},
			func(v *vm.VM) { v.Mounts = []vm.Mount{{Host: here + "/b", Guest: "/mnt", ReadOnly: true}} },
		},
		"with its section": {
			Option{Flag: "--set", Key: "Network.Mode", Value: "none"},
			func(v *vm.VM) { v.Network = "none" },
		},
		"a key of systemd": {
			Option{Flag: "--set", Key: "Service.MemoryMax", Value: "2G"},
			func(v *vm.VM) {
				v.MemoryMax = true
				v.Service = []unitfile.Entry{{Section: "Service", Key: "MemoryMax", Value: "2G", Line: 2}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := base.Clone()
			c.change(&want)
			got, err := Apply(base, []Option{c.option}, s)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("Apply() mismatch (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	for _, c := range []struct{ flag, key, value, message, hint string }{
		{"--memory", "Memory", "8X", "--memory: Memory=8X: not a size", "write a number and K, M, G or T, for example 8G"},
		{"--hide", "Hide", "", "--hide: Hide= has no value", "--set Hide= resets it to the default or to an empty list"},
		{"--mount", "Mount", ":/srv", "--mount: Mount=:/srv: on the host: not an absolute path", "start the path with / or, for your home directory, with %h"},
		{"--set", "Memroy", "8G", "--set: unknown key Memroy=", "did you mean Memory=?"},
		{"--set", "MemoryMax", "8G", "--set: unknown key MemoryMax=", "--set Service.MemoryMax=8G"},
		{"--set", "Claude.Memory", "8G", "--set: unknown key Claude.Memory=", "did you mean Memory=?"},
		{"--set", "Nonsense.X", "1", "--set: unknown key Nonsense.X=", ""},
		{"--set", "WorkDirectory", "/x", "--set: WorkDirectory= cannot be changed for one run", ""},
		{"--set", "Install.WantedBy", "x.target", "--set: WantedBy= cannot be changed for one run", ""},
		{"--set", "Service.X", "a\n[Unit]", "--set: X=a\n[Unit] is not a valid line of a unit file", ""},
		{"--set", "Service.X", `a\`, `--set: X=a\ is not a valid line of a unit file`, ""},
		{"--set", "Service.", "a", "--set: =a is not a valid line of a unit file", ""},
		{"--set", "Service.A\nB", "a", "--set: A\nB=a is not a valid line of a unit file", ""},
		{"--set", "Memory", "\xff", `--set: Memory="\xff" is not valid text`, ""},
		{"--set", "Environment", `"A`, `--set: Environment="A: a quote is not closed`, ""},
		{"--publish", "PublishPort", "3000", "--publish: PublishPort=127.0.0.1:3000:3000/tcp: cannot publish a port with Mode=none", ""},
	} {
		base := vm.Default()
		if c.key == "PublishPort" {
			base.Network = "none"
		}
		_, err := Apply(base, []Option{{Flag: c.flag, Key: c.key, Value: c.value, Literal: c.flag != "--set"}}, instance.Paths{Home: "/h"})
		if err == nil || err.Error() != c.message || err.Hint != c.hint {
			t.Errorf("%s %s=%s: %v (%+v), want %s", c.flag, c.key, c.value, err, err, c.message)
		}
	}
}

// TestTemplate checks that a new file has no errors and sets only the work directory.
func TestTemplate(t *testing.T) {
	s := instance.Paths{Home: "/home/me"}
	for dir, want := range map[string]string{
		"/home/me/a b":  "/home/me/a b",
		"/home/me2/x":   "/home/me2/x",
		`/srv/100%h"\x`: `/srv/100%h"\x`,
		"":              "",
	} {
		name := "x.vm"
		if dir == "" {
			name = DefaultsFile
		}
		set := LoadWith([]string{"/nowhere"}, s, "/nowhere/"+name, []byte(Template(dir, s)))
		for _, e := range set.Errors {
			t.Errorf("%q: %v", dir, e)
		}
		wanted, got := vm.Default(), set.Defaults
		if dir != "" {
			wanted.Name, wanted.WorkDirectory, got = "x", want, set.VMs[0]
		}
		got.Source = nil
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%q: mismatch (-want +got):\n%s", dir, diff)
		}
	}
}
