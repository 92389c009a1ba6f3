//go:build linux

package main

import "testing"

func TestRootDevice(t *testing.T) {
	tests := map[string]struct{ cmdline, want string }{
		"default":                    {"console=ttyS0 panic=-1\n", "/dev/vda"},
		"option":                     {"claude_vm.root=/dev/vdb quiet\n", "/dev/vdb"},
		"the last option wins":       {"claude_vm.root=/dev/vdb claude_vm.root=/dev/vdc\n", "/dev/vdc"},
		"an option with that suffix": {"xclaude_vm.root=/dev/vdb\n", "/dev/vda"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rootDevice(test.cmdline); got != test.want {
				t.Errorf("rootDevice(%q) = %q, want %q", test.cmdline, got, test.want)
			}
		})
	}
}
