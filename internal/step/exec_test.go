package step

import (
	"strings"
	"testing"
)

func TestProcessor(t *testing.T) {
	const model = "max,erms=off"
	for _, c := range []struct {
		command string
		model   string
		kvm     bool
		want    string
	}{
		{"qemu -accel kvm -accel tcg -cpu max -m 1G", model, true, "qemu -accel kvm -accel tcg -cpu max -m 1G"},
		{"qemu -accel kvm -accel tcg -cpu max -m 1G", model, false, "qemu -accel kvm -accel tcg -cpu max,erms=off -m 1G"},
		{"qemu -accel tcg -cpu max", model, true, "qemu -accel tcg -cpu max,erms=off"},
		{"qemu -accel tcg -cpu max", "", false, "qemu -accel tcg -cpu max"},
		{"qemu -accel tcg -cpu", model, false, "qemu -accel tcg -cpu"},
		{"qemu -accel tcg", model, false, "qemu -accel tcg"},
	} {
		if got := strings.Join(processor(strings.Fields(c.command), c.model, c.kvm), " "); got != c.want {
			t.Errorf("processor(%q, %q, %v) = %q, want %q", c.command, c.model, c.kvm, got, c.want)
		}
	}
}
