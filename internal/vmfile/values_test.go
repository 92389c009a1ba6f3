package vmfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// key returns the key with this name.
func key(t testing.TB, name string) *Key {
	t.Helper()
	for i := range Keys {
		if Keys[i].Name == name {
			return &Keys[i]
		}
	}
	t.Fatalf("no key %s=", name)
	return nil
}

// TestTable checks what messages, options and the manual rely on.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys {
		if k.set == nil || k.reset == nil || k.Value == "" || k.Doc == "" || strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s= is not complete, or Doc ends with a full stop", k.Name)
		}
		// Names must be unique across sections: error positions, hints and options use them
		// without a section.
		for _, name := range []string{k.Name, "--" + k.Flag} {
			if seen[name] && name != "--" {
				t.Errorf("%s is a duplicate", name)
			}
			seen[name] = true
		}
	}
}

// TestDefaults checks that an empty value sets the documented default, if the default is
// a value and not a description.
func TestDefaults(t *testing.T) {
	for _, k := range Keys {
		if k.Default == "" || strings.Contains(k.Default, " ") {
			continue
		}
		v := vm.VM{}
		if err := k.set(&v, k.Default); err != nil {
			t.Errorf("%s=%s: %v", k.Name, k.Default, err)
		}
		want := vm.VM{}
		k.reset(&want, vm.Default())
		if diff := cmp.Diff(want, v); diff != "" {
			t.Errorf("%s=%s differs from an empty value (-empty +got):\n%s", k.Name, k.Default, diff)
		}
	}
}

// TestReset checks that an empty value resets each key.
func TestReset(t *testing.T) {
	for name, value := range map[string]string{
		"WorkDirectory": "/srv/web", "Memory": "1G", "CPUs": "1", "Accelerator": "tcg", "Guest": "/srv/guest",
		"QEMUArguments": "-S", "Arguments": "-c", "SkipPermissions": "yes", "Terminal": "no", "Environment": "A=1",
		"Credential": "A", "SettingsFile": "/srv/settings", "Home": "user", "ReadOnly": "a", "Hide": "a",
		"Mount": "/srv/a:/a", "Mode": "none", "Allow": "a", "Deny": "a", "Ask": "no", "PublishPort": "1",
		"Inject": "A:a.com", "Proxy": "http://a:3128", "ExtraCA": "/srv/ca.pem",
	} {
		k := key(t, name)
		v := vm.Default()
		k.reset(&v, vm.Default())
		want := v.Clone()
		if err := k.set(&v, value); err != nil {
			t.Errorf("%s=%s: %v", name, value, err)
		}
		if cmp.Equal(want, v) {
			t.Errorf("%s=%s has no effect", name, value)
		}
		k.reset(&v, vm.Default())
		if diff := cmp.Diff(want, v); diff != "" {
			t.Errorf("%s= does not reset %s (-want +got):\n%s", name, value, diff)
		}
	}
}

func TestBoolean(t *testing.T) {
	for _, word := range []string{"1", "yes", "Y", "TRUE", "t", "On"} {
		if got, err := boolean(word); !got || err != nil {
			t.Errorf("%s: %v, %v", word, got, err)
		}
	}
	for _, word := range []string{"0", "no", "N", "FALSE", "f", "Off"} {
		if got, err := boolean(word); got || err != nil {
			t.Errorf("%s: %v, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "2", "yess", "auto", "ja"} {
		if _, err := boolean(word); err == nil {
			t.Errorf("%s is accepted", word)
		}
	}
}

func TestAbsolute(t *testing.T) {
	longest := strings.Repeat("/abc", 1023) + "/ab" // 4095 bytes
	for path, want := range map[string]string{
		"/": "/", "//a///b/./c/": "/a/b/c", "/...": "/...", "/a..": "/a..", "/..a": "/..a", "/a b": "/a b", longest: longest,
	} {
		if got, err := absolute(path); got != want || err != nil {
			t.Errorf("absolute(%.40s) = %.40s, %v, want %.40s", path, got, err, want)
		}
	}
	for path, want := range map[string]string{
		"": "not an absolute path", "a": "not an absolute path", "./a": "not an absolute path", "~/a": "not an absolute path",
		" /a": "not an absolute path", "/..": "path contains ..", "/a/../b": "path contains ..",
		"/a\nb": "path contains a control character", "/\x7f": "path contains a control character",
		longest + "c": "path is too long",
	} {
		if got, err := absolute(path); got != "" || err == nil || err.Error() != want {
			t.Errorf("absolute(%.40q) = %.40s, %v, want %s", path, got, err, want)
		}
	}
}

func TestIsVariable(t *testing.T) {
	for name, want := range map[string]bool{
		"A": true, "_": true, "a1_Z": true, "": false, "1A": false, "A-B": false, "A B": false, "É": false, "A=": false, "A\n": false,
	} {
		if got := IsVariable(name); got != want {
			t.Errorf("IsVariable(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestIsUnitName(t *testing.T) {
	longest := strings.Repeat("a", 255-len(".requires")-len(".target")) + ".target"
	for name, want := range map[string]bool{
		"default.target": true, "a@.service": true, "a@b.service": true, `a\x2db:c_d-e.timer`: true, "a.b.mount": true, longest: true,
		"..target": true,
		"":         false, "default": false, ".target": false, "@b.service": false, "a.conf": false, "a/b.target": false, "a.target/": false,
		"a b.target": false, "é.target": false, "%n.target": false, "a.Target": false, "a" + longest: false,
	} {
		if got := isUnitName(name); got != want {
			t.Errorf("isUnitName(%.40q) = %v, want %v", name, got, want)
		}
	}
}

func TestPort(t *testing.T) {
	for word, want := range map[string]vm.Port{
		"1":                   {Protocol: "tcp", Address: "127.0.0.1", Host: 1, Guest: 1},
		"65535/tcp":           {Protocol: "tcp", Address: "127.0.0.1", Host: 65535, Guest: 65535},
		"080:0443/udp":        {Protocol: "udp", Address: "127.0.0.1", Host: 80, Guest: 443},
		"0.0.0.0:1":           {Protocol: "tcp", Address: "0.0.0.0", Host: 1, Guest: 1},
		"192.168.1.255:1:2":   {Protocol: "tcp", Address: "192.168.1.255", Host: 1, Guest: 2},
		"127.0.0.1:53:54/udp": {Protocol: "udp", Address: "127.0.0.1", Host: 53, Guest: 54},
	} {
		var v vm.VM
		if err := addPort(&v, word); err != nil || len(v.Ports) != 1 || v.Ports[0] != want {
			t.Errorf("PublishPort=%s: %v, %v, want %v", word, v.Ports, err, want)
		}
		// A port in a message is a valid value.
		var again vm.VM
		if err := addPort(&again, want.String()); err != nil || !cmp.Equal(again, v) {
			t.Errorf("PublishPort=%s: %v, %v, want %v", want, again.Ports, err, want)
		}
	}
	for _, word := range []string{"", ":", "1:", ":1", "1:2:3:4", "1.2.3.4:", "01.2.3.4:1", "1.2.3.4.5:1", "1.2.3.4%eth0:1", "/", "1/", "1/TCP", "1 ", "1\n", "１"} {
		var v vm.VM
		if err := addPort(&v, word); err == nil || v.Ports != nil {
			t.Errorf("PublishPort=%q: %v, %v", word, v.Ports, err)
		}
	}
}

// TestLongValues checks that words that are too long for systemd are rejected. systemd
// would ignore them, and what follows them in the drop-in, with a warning only.
func TestLongValues(t *testing.T) {
	long := strings.Repeat("a/", 2048)
	for name, value := range map[string]string{
		"ReadOnly": long, "Hide": long, "Credential": strings.Repeat("A", 256),
	} {
		var v vm.VM
		if err := key(t, name).set(&v, value); err == nil {
			t.Errorf("%s= accepts a word of %d bytes", name, len(value))
		}
	}
}

// TestLongMessages checks that messages are short, however long the input is: a message
// becomes a variable of a unit and a line of the journal.
func TestLongMessages(t *testing.T) {
	long := strings.Repeat("\x01x", 1000)
	for _, text := range []string{
		"[VM", "[%s]", "[%s", "%s=1", "%s", "[VM]\n%s=1", "[VM]\n%s", "[VM]\nMemory=%s", "[VM]\nA%s=1", "[VM]\nWorkDirectory=%s",
		"[Install]\nWantedBy=%s", "[Install]\n%s=1", "[Claude]\nEnvironment=%s", "[Claude]\nCredential=%s", "[Claude]\nCredential=A:%s",
		"[Share]\nReadOnly=/%s", "[Share]\nMount=%s", "[Share]\nMount=/a:/b:%s", "[Share]\nMount=/a:/proc/%s", "[Share]\nMount=/b:/a/%[1]s /c:/a/%[1]s",
		"[Network]\nPublishPort=%s", "[Network]\nPublishPort=1/%s", "[Network]\nPublishPort=1.%s:1", "[VM]\nWorkDirectory=/home/me/%s\\ ",
	} {
		for _, filler := range []string{strings.ReplaceAll(long, "\x01", "x"), strings.ReplaceAll(long, "\x01", `"`), strings.ReplaceAll(long, "\x01", `\x01`)} {
			full := text
			if strings.Contains(text, "%") {
				full = fmt.Sprintf(text, filler)
			}
			for _, e := range load(t, full) {
				if n := len(e.Err.Error()) + len(e.Hint); n > 1000 {
					t.Errorf("%.40q: %d bytes: %.100s", full, n, e.Err)
				}
			}
		}
	}
}
