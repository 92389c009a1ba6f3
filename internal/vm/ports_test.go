package vm

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

func TestPublishedPorts(t *testing.T) {
	v := Default()
	v.Ports = []Port{{"tcp", "127.0.0.1", 3000, 8080}, {"udp", "0.0.0.0", 53, 53}}
	ours, err := unitfile.JoinPlain(v.network())
	if err != nil {
		t.Fatal(err)
	}
	for network, want := range map[string][]Port{
		"":   nil,
		ours: v.Ports,
		"-netdev user,id=n,hostfwd=::22-:22,hostfwd=tcp::80-10.0.2.15:8080 -device e1000": {{"tcp", "0.0.0.0", 22, 22}, {"tcp", "0.0.0.0", 80, 8080}},
		"hostfwd=tcp::x-:1,hostfwd=tcp::1,hostfwd=1-2,hostfwd=":                           nil,
	} {
		if diff := cmp.Diff(want, PublishedPorts(network)); diff != "" {
			t.Errorf("PublishedPorts(%q) mismatch (-want +got):\n%s", network, diff)
		}
	}
}
