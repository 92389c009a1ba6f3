package gateway

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// network returns a change of the settings to a mode and rules.
func network(mode, allow, deny string) func(*Config) {
	return func(c *Config) {
		c.Settings.Network, c.Settings.Allow, c.Settings.Deny = mode, strings.Fields(allow), strings.Fields(deny)
	}
}

func TestInternet(t *testing.T) {
	w := newWorld(t, network("internet", "10.7.0.0/16 host.internal:5432", "denied.test"))
	for name, address := range map[string]string{
		"public.test": "93.184.216.34", "denied.test": "93.184.216.34", "private.test": "10.0.0.1", "loopback.test": "127.0.0.1",
		"meta.test": "169.254.169.254", "zero.test": "0.0.0.0", "lan.test": "9.9.9.7", "mapped.test": "::ffff:10.0.0.1",
		"nat64.test": "64:ff9b::a00:1", "allowed.test": "10.7.0.1", "six.test": "2a00:1::1",
	} {
		w.host(name, address)
		w.echo(net.JoinHostPort(address, "7"))
	}
	w.host("mixed.test", "10.0.0.1", "93.184.216.34")
	w.echo("127.0.0.1:5432")
	for _, target := range []string{"public.test:7", "93.184.216.34:7", "allowed.test:7", "10.7.0.1:7", "six.test:7", "mixed.test:7", "host.internal:5432"} {
		if !w.echoes(target) {
			t.Errorf("%s is not allowed", target)
		}
	}
	for _, target := range []string{
		"denied.test:7", "private.test:7", "loopback.test:7", "meta.test:7", "zero.test:7", "lan.test:7", "mapped.test:7", "nat64.test:7",
		"10.0.0.1:7", "127.0.0.1:7", "9.9.9.7:7", "host.internal:7", "10.0.2.2:7", "10.0.2.15:99", "198.19.255.1:7", "169.254.169.254:7",
	} {
		if w.echoes(target) {
			t.Errorf("%s is allowed", target)
		}
	}
	for _, address := range w.dialed {
		if strings.HasPrefix(address, "10.0") || strings.HasPrefix(address, "169") || address == "127.0.0.1:7" {
			t.Errorf("the gateway connected to %s", address)
		}
	}
}

// TestRebinding checks that a name that gets a private address is denied from then on.
func TestRebinding(t *testing.T) {
	w := newWorld(t, nil)
	w.host("rebind.test", "93.184.216.34")
	w.echo("93.184.216.34:7")
	w.echo("10.0.0.1:7")
	if !w.echoes("rebind.test:7") {
		t.Error("not allowed at first")
	}
	w.mu.Lock()
	w.hosts["rebind.test"] = nil
	w.mu.Unlock()
	w.host("rebind.test", "10.0.0.1")
	clear(w.gateway.force.Load().outside.lookups)
	if w.echoes("rebind.test:7") {
		t.Error("the private address is allowed")
	}
}

func TestDNS(t *testing.T) {
	w := newWorld(t, network("allow", "good.test *.wild.test", ""))
	w.host("good.test", "93.184.216.34")
	w.host("a.wild.test", "93.184.216.34")
	first := w.address("good.test")
	if !synthetic.Contains(first) || w.address("GOOD.test") != first || w.address("a.wild.test") == first {
		t.Errorf("addresses: %v", first)
	}
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeTXT, 65, dnsmessage.TypeMX} {
		if m := w.query("good.test", kind); len(m.Answers) != 0 || m.RCode != dnsmessage.RCodeSuccess {
			t.Errorf("record of type %v: %v", kind, m)
		}
	}
	if m := w.query("none.wild.test", dnsmessage.TypeA); m.RCode != dnsmessage.RCodeNameError {
		t.Errorf("a name that does not exist: %v", m)
	}
	w.lookups = nil
	w.address("secret-data.evil.test")
	w.query("more-data.evil.test", dnsmessage.TypeTXT)
	if len(w.lookups) != 0 {
		t.Errorf("denied names were looked up: %v", w.lookups)
	}
	if got := w.address("gateway.internal"); got.String() != "10.0.2.2" {
		t.Errorf("gateway.internal is %v", got)
	}
	// Other resolvers are addresses that are not allowed.
	if w.echoes("8.8.8.8:53") {
		t.Error("another resolver is allowed")
	}
	// Over TCP.
	c := w.must("10.0.2.3:53")
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 9}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("good.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	text, _ := q.Pack()
	c.Write(append([]byte{0, byte(len(text))}, text...))
	answer := make([]byte, 2)
	if _, err := io.ReadFull(c, answer); err != nil || answer[1] == 0 {
		t.Errorf("query over TCP: %v, %v", answer, err)
	}
}

func TestUDP(t *testing.T) {
	w := newWorld(t, network("internet", "", ""))
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			l.WriteTo(append([]byte("re: "), buf[:n]...), from)
		}
	}()
	w.host("time.test", "93.184.216.34")
	w.server("93.184.216.34:123/udp", l.LocalAddr().String())
	w.server("93.184.216.34:443/udp", l.LocalAddr().String())
	ask := func(target string) string {
		c, err := w.dial("udp", target)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(2 * time.Second))
		c.Write([]byte("now"))
		buf := make([]byte, 100)
		n, _ := c.Read(buf)
		return string(buf[:n])
	}
	if got := ask("time.test:123"); got != "re: now" {
		t.Errorf("UDP: %q", got)
	}
	if got := ask("time.test:443"); got != "" {
		t.Errorf("QUIC: %q", got)
	}
	w.event("denied", "time.test:443/udp")
	if got := ask("10.0.0.1:53"); got != "" {
		t.Errorf("a private address: %q", got)
	}
}
