package vm

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

func TestValidate(t *testing.T) {
	port := func(address string, host int) Port {
		return Port{Protocol: "tcp", Address: address, Host: host, Guest: 80}
	}
	// long returns a word of n bytes, which needs no quotes in a variable.
	long := func(n int) []string { return []string{strings.Repeat("x", n)} }
	for name, test := range map[string]struct {
		change   func(*VM)
		key, err string
	}{
		"the default": {},
		"ports": {
			change: func(v *VM) {
				udp := port("127.0.0.1", 1)
				udp.Protocol = "udp"
				v.Ports = []Port{port("127.0.0.1", 1), port("127.0.0.2", 1), port("127.0.0.1", 2), udp}
			},
		},
		"the same port": {
			change: func(v *VM) { v.Ports = []Port{port("127.0.0.1", 1), port("127.0.0.1", 2), port("127.0.0.1", 1)} },
			key:    "PublishPort", err: "PublishPort=127.0.0.1:1:80/tcp: the host port is already used by 127.0.0.1:1:80/tcp",
		},
		"all addresses first": {
			change: func(v *VM) { v.Ports = []Port{port("0.0.0.0", 1), port("127.0.0.1", 1)} },
			key:    "PublishPort", err: "PublishPort=127.0.0.1:1:80/tcp: the host port is already used by 0.0.0.0:1:80/tcp",
		},
		"all addresses last": {
			change: func(v *VM) { v.Ports = []Port{port("127.0.0.1", 1), port("0.0.0.0", 1)} },
			key:    "PublishPort", err: "PublishPort=0.0.0.0:1:80/tcp: the host port is already used by 127.0.0.1:1:80/tcp",
		},
		"ports without a network": {
			change: func(v *VM) { v.Network, v.Ports = "none", []Port{port("127.0.0.1", 1)} },
			key:    "PublishPort", err: "PublishPort=127.0.0.1:1:80/tcp: cannot publish a port with Mode=none",
		},
		"no network": {
			change: func(v *VM) { v.Network = "none" },
		},
		"mounts": {
			change: func(v *VM) {
				v.Mounts = []Mount{{Host: "/a", Guest: "/a"}, {Host: "/a", Guest: "/b"}, {Host: "/c", Guest: "/a/c"}}
			},
		},
		"mounts in one place": {
			change: func(v *VM) { v.Mounts = []Mount{{Host: "/a", Guest: "/x"}, {Host: "/b", Guest: "/x", ReadOnly: true}} },
			key:    "Mount", err: "Mount=/b:/x: /a is already mounted there",
		},
		"a mount on the home": {
			change: func(v *VM) { v.Mounts = []Mount{{Host: "/a", Guest: "/home/claude"}} },
		},
		"a mount on a home that is kept": {
			change: func(v *VM) { v.Home, v.Mounts = "user", []Mount{{Host: "/a", Guest: "/home/claude"}} },
			key:    "Mount", err: "Mount=/a:/home/claude: Home=user is already mounted there",
		},
		"a mount in a home that is kept": {
			change: func(v *VM) { v.Home, v.Mounts = "user", []Mount{{Host: "/a", Guest: "/home/claude/go"}} },
		},
		"the longest arguments": {
			change: func(v *VM) { v.Arguments = long(128<<10 - 2 - len("CLAUDE_ARGUMENTS")) },
		},
		"longer arguments": {
			change: func(v *VM) { v.Arguments = long(128<<10 - 1 - len("CLAUDE_ARGUMENTS")) },
			key:    "Arguments", err: "Arguments= is longer than 128 KiB, the limit for an environment variable",
		},
		"long environment": {
			change: func(v *VM) { v.Environment = append(long(64<<10), long(64<<10)...) },
			key:    "Environment", err: "Environment= is longer than 128 KiB, the limit for an environment variable",
		},
		"long for its quotes": {
			change: func(v *VM) { v.Arguments = []string{strings.Repeat(`"`, 64<<10)} },
			key:    "Arguments", err: "Arguments= is longer than 128 KiB, the limit for an environment variable",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := Default()
			if test.change != nil {
				test.change(&v)
			}
			key, err := v.Validate()
			got := ""
			if err != nil {
				got = err.Error()
			}
			if key != test.key || got != test.err {
				t.Errorf("Validate() = %q, %q, want %q, %q", key, got, test.key, test.err)
			}
		})
	}
}

// TestLongLists checks the limit of 128 KiB per list. Linux cannot execute a program
// with a longer variable, and systemd needs long to process longer lists of paths.
func TestLongLists(t *testing.T) {
	long := make([]string, 20000)
	for i := range long {
		long[i] = fmt.Sprintf("%07d", i)
	}
	v := Default()
	for _, name := range long {
		v.Credentials = append(v.Credentials, Credential{Name: name})
	}
	if key, err := v.Validate(); err == nil || key != "Credential" || err.Error() != "Credential= is longer than 128 KiB" {
		t.Errorf("Credential=: %q, %v", key, err)
	}
	for key, change := range map[string]func(*VM){
		"ReadOnly":      func(v *VM) { v.ReadOnly = long },
		"Hide":          func(v *VM) { v.Hide = long },
		"QEMUArguments": func(v *VM) { v.QEMUArguments = []string{strings.Repeat("x", 128<<10)} },
		"PublishPort": func(v *VM) {
			for port := 20000; port < 26000; port++ {
				v.Ports = append(v.Ports, Port{Protocol: "tcp", Address: "127.0.0.1", Host: port, Guest: port})
			}
		},
	} {
		v := Default()
		change(&v)
		if got, err := v.Validate(); err == nil || got != key || err.Error() != key+"= is longer than 128 KiB, the limit for an environment variable" {
			t.Errorf("%s=: %q, %v", key, got, err)
		}
	}
}

// TestClone checks that Clone copies every list. It fails if a new field of VM is a list
// that Clone or this test does not have.
func TestClone(t *testing.T) {
	v := VM{
		Source: []string{"a"}, QEMUArguments: []string{"a"}, Insecure: []string{"a"}, Arguments: []string{"a"}, Environment: []string{"a"},
		Credentials: []Credential{{Name: "a"}}, ReadOnly: []string{"a"}, Hide: []string{"a"}, Mounts: []Mount{{Host: "a"}},
		Allow: []string{"a"}, Deny: []string{"a"}, Inject: []Injection{{Name: "a"}}, Commands: []string{"a"}, Ports: []Port{{Host: 1}}, Unit: []unitfile.Entry{{Key: "a"}}, Service: []unitfile.Entry{{Key: "a"}}, Links: []Link{{Kind: "a"}},
	}
	clone := reflect.ValueOf(v.Clone())
	for i, field := range reflect.VisibleFields(clone.Type()) {
		if field.Type.Kind() != reflect.Slice {
			continue
		}
		was, is := reflect.ValueOf(v).Field(i), clone.Field(i)
		if was.Len() != 1 || is.Len() != 1 || was.Pointer() == is.Pointer() {
			t.Errorf("%s is shared, or missing in this test", field.Name)
		}
	}
}
