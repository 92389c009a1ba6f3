package vmfile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// TestAppliedIsInverse checks that Applied returns the settings from which the generator
// has made the variables.
func TestAppliedIsInverse(t *testing.T) {
	for _, text := range []string{
		"",
		"Memory=3G\nCPUs=7\nGuest=/srv/g\n[Claude]\nArguments=--model \"a b\" %%\nEnvironment=A=1 \"B=x y\"\nTerminal=no\n" +
			"ForwardAgent=yes\nSettingsFile=/srv/s\nHome=project\n[Share]\nReadOnly=\nReadOnly=\"a b\" c/d\nHide=.env\nMount=\"/srv/x y:/x y\" /srv/b:/b:ro\n[Network]\nPublishPort=80 0.0.0.0:53:5353/udp [::1]:81\n" +
			"Mode=allow\nAllow=@github *.a.com:443/tcp [fd00::/8]:53/udp\nDeny=b.a.com\nAsk=no\nInject=GH:github.com:basic K:a.com:x-key\nProxy=http://u:p%%20@a:1\nExtraCA=/srv/ca\n",
		"[Network]\nInject=\n",
		"[Network]\nMode=none\n",
		"[Share]\nReadOnly=\n",
	} {
		dir := t.TempDir()
		write(t, dir+"/web.vm", "[VM]\nWorkDirectory=/srv/web\n"+text)
		set := Load([]string{dir}, me)
		if len(set.Errors) > 0 {
			t.Fatal(set.Errors)
		}
		want := set.VMs[0]
		variables := map[string]string{}
		for i := range vm.Settings {
			variables[vm.Settings[i].Name] = vm.Settings[i].Value(&want)
		}
		// Not in variables.
		want.Name, want.Source, want.Credentials = "", nil, nil
		got, err := Applied(func(name string) string { return variables[name] }, "/srv/web")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Applied() mismatch (-want +got):\n%s%v", diff, err)
		}
	}
}

// TestAppliedFails checks the errors for variables that a drop-in of the user sets.
func TestAppliedFails(t *testing.T) {
	const edit = "claude-vm-ctl edit /srv/web"
	for _, c := range []struct{ name, value, message, hint string }{
		{"MEMORY", "4096", "MEMORY=4096: less than the 512M that the guest needs", "a number without a suffix is in bytes; did you mean 4096M?"},
		{"MEMORY", "lots", "MEMORY=lots: not a size", "write a number and K, M, G or T, for example 8G"},
		{"CLAUDE_ENVIRONMENT", "A", `CLAUDE_ENVIRONMENT=A: "A" is not NAME=VALUE`, edit},
		{"CLAUDE_ENVIRONMENT", "1A=x", `CLAUDE_ENVIRONMENT=1A=x: "1A=x" is not NAME=VALUE`, edit},
		{"CLAUDE_ENVIRONMENT", `"A=`, `CLAUDE_ENVIRONMENT="A=: a quote is not closed`, edit},
		{"CLAUDE_TERMINAL", "maybe", "CLAUDE_TERMINAL=maybe: not one of auto, yes, no", edit},
		{"CLAUDE_HOME", "none", "CLAUDE_HOME=none: not one of ephemeral, project, user", edit},
		{"CLAUDE_ARGUMENTS", `"-p`, `CLAUDE_ARGUMENTS="-p: a quote is not closed`, edit},
		{"READ_ONLY", "../a", "READ_ONLY=../a: path contains ..", edit},
		{"MOUNTS", "/a", `MOUNTS=/a: "/a" is not HOST:GUEST[:ro]`, "a path that contains a colon cannot be mounted"},
		{"MOUNTS", "/a:b", "MOUNTS=/a:b: in the guest: not an absolute path", "start the path with / or, for your home directory, with %h"},
		{"MOUNTS", "/a:/..", "MOUNTS=/a:/..: in the guest: path contains ..", edit},
		{"MOUNTS", "/srv:/a", "Mount=/srv:/a: overlaps the work directory and would bypass its ReadOnly= and Hide=", edit},
		{"PORTS", "0", `PORTS=0: "0" is not a port from 1 to 65535`, edit},
	} {
		getenv := func(name string) string {
			switch name {
			case c.name:
				return c.value
			case "NETWORK":
				return "-netdev user"
			}
			return ""
		}
		_, err := Applied(getenv, "/srv/web")
		if got := failure.Of(err); err == nil || got.Error() != c.message || got.Hint != c.hint || got.Status != failure.HostUnable {
			t.Errorf("%s=%s: %v, want %s", c.name, c.value, err, c.message)
		}
	}
}
