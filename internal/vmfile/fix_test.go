package vmfile

import "testing"

func TestFixCommand(t *testing.T) {
	for file, want := range map[string]string{
		"/etc/claude-vm/user/a b.vm":         "claude-vm-ctl edit 'a b'",
		"/h/.config/claude-vm/defaults.conf": "claude-vm-ctl edit --defaults",
		"/h/.config/claude-vm/vm.d/a b.conf": "${EDITOR:-vi} '/h/.config/claude-vm/vm.d/a b.conf'",
		"/h/.config/claude-vm":               "ls -ld /h/.config/claude-vm",
	} {
		if got := FixCommand(file); got != want {
			t.Errorf("FixCommand(%q) = %s, want %s", file, got, want)
		}
	}
}
