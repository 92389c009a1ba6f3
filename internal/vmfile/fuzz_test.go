package vmfile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// FuzzValues gives a key any value and parses the resulting lines as systemd and QEMU do.
// The result must be equal to the parsed value.
func FuzzValues(f *testing.F) {
	for i := range Keys {
		for _, value := range []string{
			"", "8G", "4", "tcg", "yes", "no", "user", "none", "project", "/srv/a b", "/srv/%%h", `/srv/a"b\c'd`, ".env a/b/c", `"a b" 'c"d' e\\f \n`,
			"A=1 B=x=y", `"A=b c\n\"d\"" A=2`, "GH_TOKEN NPM:/srv/%%x", "/srv/a:/b:ro /srv/c:/d", "3000 1.2.3.4:80:81/udp", "%h/%N", `"" '' \s`, "$HOME ${X} %%n #a ;b",
		} {
			f.Add(uint8(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, number uint8, value string) {
		k := &Keys[int(number)%len(Keys)]
		text := "[" + k.Section + "]\n" + k.Name + "=" + value + "\n"
		file, errs := unitfile.Parse("f", []byte(text))
		if len(errs) > 0 || len(file.Entries) != 1 {
			return // the syntax does not allow this value
		}
		v := vm.Default()
		v.Name = "web"
		r := applier{vm: &v, specifiers: HostSpecifiers(me)}
		if errs := r.apply(file); len(errs) > 0 {
			return
		}
		if _, err := v.Validate(); err != nil {
			return
		}
		defaults := vm.Default()
		lines, err := defaults.Base().Lines(&v)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, unit := range lines {
			for _, line := range unit {
				checkLine(t, line)
			}
		}
		checkSetup(t, v, lines[vm.Setup])
		checkMachine(t, v, lines[vm.Machine])
		checkShare(t, v, lines[vm.Share])
	})
}

// checkLine checks that line is a single valid line of a unit file.
func checkLine(t *testing.T, line string) {
	t.Helper()
	if !utf8.ValidString(line) || strings.IndexFunc(line, unicode.IsControl) >= 0 || strings.HasSuffix(line, `\`) {
		t.Fatalf("%q is not a valid line", line)
	}
}

// unspecify expands %% as systemd does, and fails for any other specifier.
func unspecify(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		b.WriteByte(text[i])
		if text[i] == '%' {
			if i++; i == len(text) || text[i] != '%' {
				t.Fatalf("%q has a specifier", text)
			}
		}
	}
	return b.String()
}

// environment parses the Environment= lines.
func environment(t *testing.T, lines []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, line := range lines {
		text, found := strings.CutPrefix(line, "Environment=")
		if !found {
			continue
		}
		words, err := unitfile.Split(text)
		if err != nil || len(words) != 1 {
			t.Fatalf("%s: %q, %v", line, words, err)
		}
		name, value, _ := strings.Cut(unspecify(t, words[0]), "=")
		if _, twice := all[name]; twice {
			t.Fatalf("%s is set twice", name)
		}
		all[name] = value
	}
	return all
}

// words splits a value with C escape sequences, as claude-vm-ctl does.
func words(t *testing.T, value string) []string {
	t.Helper()
	all, err := unitfile.Split(value)
	if err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return all
}

// plainWords splits a value as systemd splits a variable in a command line: inside and
// outside of quotes, a backslash makes the next character literal.
func plainWords(value string) []string {
	var all []string
	var b strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, c := range value {
		switch {
		case escaped:
			b.WriteRune(c)
			escaped = false
		case c == '\\':
			in, escaped = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			in, quote = true, c
		case quote == 0 && strings.ContainsRune(" \t\n\r", c):
			if in {
				all = append(all, b.String())
			}
			in = false
			b.Reset()
		default:
			in = true
			b.WriteRune(c)
		}
	}
	if in {
		all = append(all, b.String())
	}
	return all
}

// check compares a variable with the wanted value. standard is its value in the units,
// which applies if it is not set.
func check(t *testing.T, env map[string]string, name, standard, want string) {
	t.Helper()
	got, set := env[name]
	if !set {
		got = standard
	}
	if got != want {
		t.Fatalf("%s=%q, want %q", name, got, want)
	}
}

func checkWords(t *testing.T, name string, want, got []string) {
	t.Helper()
	if len(want)+len(got) > 0 && !cmp.Equal(want, got) {
		t.Fatalf("%s is %q, want %q", name, got, want)
	}
}

func checkSetup(t *testing.T, v vm.VM, lines []string) {
	t.Helper()
	env := environment(t, lines)
	check(t, env, "GUEST", "", v.Guest)
	check(t, env, "GUEST_IMAGE", "", v.Image)
	check(t, env, "SETTINGS_FILE", "", v.SettingsFile)
	check(t, env, "CLAUDE_HOME", "ephemeral", v.Home)
	check(t, env, "CLAUDE_TERMINAL", "auto", v.Terminal)
	arguments := v.Arguments
	if v.SkipPermissions {
		arguments = append([]string{"--dangerously-skip-permissions"}, arguments...)
	}
	checkWords(t, "CLAUDE_ARGUMENTS", arguments, words(t, env["CLAUDE_ARGUMENTS"]))
	checkWords(t, "CLAUDE_ENVIRONMENT", v.Environment, words(t, env["CLAUDE_ENVIRONMENT"]))
	var mounts, ports []string
	for _, m := range v.Mounts {
		mounts = append(mounts, m.Host+":"+m.Guest+map[bool]string{true: ":ro"}[m.ReadOnly])
	}
	for _, p := range v.Ports {
		ports = append(ports, p.String())
	}
	readOnly := vm.Default().ReadOnly
	if value, set := env["READ_ONLY"]; set {
		readOnly = words(t, value)
	}
	checkWords(t, "READ_ONLY", v.ReadOnly, readOnly)
	checkWords(t, "HIDE", v.Hide, words(t, env["HIDE"]))
	checkWords(t, "MOUNTS", mounts, words(t, env["MOUNTS"]))
	checkWords(t, "PORTS", ports, words(t, env["PORTS"]))
	checkWords(t, "ALLOW", v.Allow, words(t, env["ALLOW"]))
	checkWords(t, "DENY", v.Deny, words(t, env["DENY"]))
	check(t, env, "NETWORK_MODE", "internet", v.Network)
	check(t, env, "PROXY", "", v.Proxy)
	check(t, env, "EXTRA_CA", "", v.ExtraCA)
	var inject []string
	for _, i := range v.Inject {
		inject = append(inject, i.String())
	}
	if value, set := env["INJECT"]; set {
		checkWords(t, "INJECT", inject, words(t, value))
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "LoadCredential=") })
	if len(env) != len(lines) {
		t.Fatalf("there are lines other than variables: %q", lines)
	}
}

func checkMachine(t *testing.T, v vm.VM, lines []string) {
	t.Helper()
	env := environment(t, lines)
	check(t, env, "MEMORY", "4096M", fmt.Sprintf("%dM", v.Memory>>20))
	check(t, env, "CPUS", "4", fmt.Sprint(v.CPUs))
	check(t, env, "ACCELERATOR", "-accel kvm -accel tcg,thread=single", map[string]string{
		"auto": "-accel kvm -accel tcg,thread=single", "kvm": "-accel kvm", "tcg": "-accel tcg,thread=single",
	}[v.Accelerator])
	check(t, env, "GUEST", "", v.Guest)
	if (env["IMAGE"] != "") != (v.Image != "") {
		t.Fatalf("IMAGE is %q, the name of the image %q", env["IMAGE"], v.Image)
	}
	checkWords(t, "QEMU_ARGUMENTS", v.QEMUArguments, plainWords(env["QEMU_ARGUMENTS"]))
	if network, set := env["NETWORK"]; set {
		checkNetwork(t, v, plainWords(network))
	}
	checkFiles(t, v, lines)
}

// checkNetwork checks that QEMU has a network card or none.
func checkNetwork(t *testing.T, v vm.VM, arguments []string) {
	t.Helper()
	if v.Network != "none" {
		t.Fatalf("NETWORK is set for Mode=%s", v.Network)
	}
	checkWords(t, "NETWORK", nil, arguments)
}

// checkFiles checks the lines of QEMU's unit that contain paths of files.
func checkFiles(t *testing.T, v vm.VM, lines []string) {
	t.Helper()
	var credentials, environmentFiles, binds []string
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "Environment":
		case "MemoryMax":
			checkWords(t, "MemoryMax", []string{memoryMax(v)}, []string{line})
		case "EnvironmentFile":
			environmentFiles = append(environmentFiles, unspecify(t, value))
		case "BindReadOnlyPaths":
			for _, word := range plainWords(value) {
				binds = append(binds, unspecify(t, word))
			}
		case "LoadCredential":
			if value == "" {
				credentials = nil
				continue
			}
			credentials = append(credentials, value)
		default:
			t.Fatalf("QEMU's unit has the unexpected line %s", line)
		}
	}
	if v.Guest != "" {
		checkWords(t, "EnvironmentFile=", []string{"", v.Guest + "/guest.env"}, environmentFiles)
		checkWords(t, "BindReadOnlyPaths=", []string{"-" + v.Guest}, binds)
	}
	var want []string
	for _, c := range v.Credentials {
		inject := slices.ContainsFunc(v.Inject, func(i vm.Injection) bool { return i.Name == c.Name })
		if c.Path != "" && !inject {
			want = append(want, c.Name+":"+c.Path)
		}
	}
	var got []string
	for _, c := range credentials {
		if name, file, _ := strings.Cut(c, ":"); file != "%h/.config/credstore/"+name {
			got = append(got, unspecify(t, c))
		}
	}
	checkWords(t, "LoadCredential=", want, got)
}

// checkShare checks the lines of virtiofsd's unit, which are all for mounts.
func checkShare(t *testing.T, v vm.VM, lines []string) {
	t.Helper()
	var want []string
	if v.Memory != 4<<30 {
		want = append(want, memoryMax(v))
	}
	for i, m := range v.Mounts {
		key := "BindPaths"
		if m.ReadOnly {
			key = "BindReadOnlyPaths"
		}
		want = append(want, fmt.Sprintf("%s=-%%t/claude-vm/.%%i.share/%[2]s:%%h/share/%[2]s", key, m.ShareName(i)))
	}
	checkWords(t, "mounts", want, lines)
}

func memoryMax(v vm.VM) string { return fmt.Sprintf("MemoryMax=%dM", v.Memory>>20+1536) }
