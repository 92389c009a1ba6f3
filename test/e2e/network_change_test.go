//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestNetworkChanges checks a VM whose host gets a network after the VM has started, moves to another one,
// or is in a network with a login page. It does not run in parallel with other tests, which need the network.
func TestNetworkChanges(t *testing.T) {
	p := newProject(t, "moves")
	change := func(state string) {
		t.Helper()
		if err := os.WriteFile("/srv/network", []byte(state+"\n"), 0); err != nil {
			t.Fatal(err)
		}
		p.eventually("the network is "+state, func() bool {
			text, _ := os.ReadFile("/srv/network.state")
			return string(text) == state+"\n"
		})
	}
	t.Cleanup(func() { change("back") })
	reached := func(url, want string) {
		t.Helper()
		p.eventually(url+" is reached", func() bool { got, status := p.fetch(url); return status == 0 && strings.HasPrefix(got, want) })
	}
	change("gone")
	p.start()
	if got, status := p.fetch("http://example.com/"); status == 0 {
		t.Errorf("without a network: %s", got)
	}
	if got, status := p.fetch("http://93.184.216.34/"); status == 0 && !strings.Contains(got, "unreachable") {
		t.Errorf("without a network: %s", got)
	}
	change("back")
	reached("http://example.com/", "example.com at ")
	change("moved")
	reached("http://other.test/", "other.test at ")
	// The address that the host has now is denied, although it is public.
	if got, status := p.fetch("http://93.184.215.1/"); status == 0 && !strings.Contains(got, "claude-vm denied the connection") {
		t.Errorf("the host was reached: %q", got)
	}
	p.wantDecision("denied", "", "93.184.215.1", "80")
	change("captive")
	// The gateway reads the name of the resolver every five seconds.
	p.eventually("the gateway uses the other resolver", func() bool {
		got, status := p.fetch("http://six.test/")
		return status == 0 && strings.Contains(got, "claude-vm denied the connection to six.test")
	})
	p.wantDecision("denied", "six.test", "192.168.77.2", "80")
	change("back")
	reached("http://six.test/", "six.test at ")
}
