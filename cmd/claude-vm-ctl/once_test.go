package main

import "testing"

func TestMend(t *testing.T) {
	v := &vm{dir: "/srv/a b"}
	for refusal, want := range map[string]string{
		"/etc/claude-vm/user/web.vm:3: unknown key X=":    "claude-vm-ctl edit '/srv/a b'",
		"/h/.config/claude-vm/defaults.conf:1: not UTF-8": "claude-vm-ctl edit --defaults",
		"/h/.config/claude-vm/vm.d/a b.conf:1: x":         "${EDITOR:-vi} '/h/.config/claude-vm/vm.d/a b.conf'",
		"/h/.config/claude-vm: permission denied":         "ls -ld /h/.config/claude-vm",
		"the settings were not written to the end; x":     "claude-vm-ctl generate",
	} {
		if got := v.mend(refusal); got != want {
			t.Errorf("mend(%q) = %s, want %s", refusal, got, want)
		}
	}
}
