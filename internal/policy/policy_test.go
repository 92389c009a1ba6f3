package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	for text, want := range map[string]string{
		"example.com":        "",
		"Example.COM.:443":   "",
		"*.example.com":      "",
		"*":                  "",
		"*:443/udp":          "",
		"192.168.1.0/24":     "",
		"192.168.1.7:22/tcp": "",
		"fd00::/8":           "",
		"[fd00::/8]:53/udp":  "",
		"::1":                "",
		"@github":            "",
		"@github:443":        "",
		"host.internal:5432": "",
		"":                   `"" is no host name`,
		"@nowhere":           "unknown group @nowhere",
		"a:0":                `invalid port "0"`,
		"a:x":                `invalid port "x"`,
		"a:53/sctp":          `unknown protocol "sctp"`,
		"*.*.com":            `"*.com" is no host name`,
		"a b":                `"a b" is no host name`,
		"192.168.1.7/24":     "use 192.168.1.0/24",
		"1.2.3.4/33":         "no prefix",
		"127.1":              `"127.1" is no host name`,
		"0x7f000001":         `"0x7f000001" is no host name`,
		"fe80::1%eth0":       "zone",
		"[fd00::1":           "needs [ADDRESS]:PORT",
		"[fd00::1]x":         "needs [ADDRESS]:PORT",
		"https://a.com":      "is a URL",
	} {
		r, err := ParseRule(text)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want == "" && r.String() != text:
			t.Errorf("%s is %s", text, r)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

func TestGroups(t *testing.T) {
	if len(Groups) < 10 {
		t.Fatalf("%d groups", len(Groups))
	}
	for _, g := range Groups {
		r, err := ParseRule(g.Name)
		if err != nil || len(r.targets) == 0 || len(r.targets) != len(g.Names) {
			t.Errorf("%s: %v, %v", g.Name, r, err)
		}
	}
}

// TestDecisions has requests as NAME:PORT, NAME=ADDRESS:PORT or ADDRESS:PORT.
func TestDecisions(t *testing.T) {
	own := prefixes("93.184.216.0/24", "2a00:1::/64")
	for _, c := range []struct{ mode, allow, deny, allowed, denied string }{
		{"internet", "", "",
			"example.com:443 1.1.1.1:25 example.com=1.1.1.1:80 [2606:4700::1]:443 example.com:123/udp x.y=64:ff9b::101:101:80",
			"10.0.0.1:80 x.y=10.0.0.1:80 x.y=127.0.0.1:80 127.0.0.1:80 169.254.169.254:80 [::1]:80 0.0.0.0:80 255.255.255.255:67/udp " +
				"224.0.0.251:5353/udp [::ffff:10.0.0.1]:80 [64:ff9b::a00:1]:80 [2002:a00:1::]:80 [fd00::1]:80 [fe80::1]:80 100.64.0.1:80 " +
				"93.184.216.34:80 x.y=93.184.216.34:80 [2a00:1::7]:80 198.18.0.1:80 example.com:443/udp 1.1.1.1:443/udp host.internal:80 [fd00:ec2::254]:80 168.63.129.16:80 100.100.100.200:80 [fd20:ce::254]:80"},
		{"internet", "10.0.0.0/8 host.internal:5432 example.com:443/udp 127.0.0.0/8 169.254.0.0/16", "",
			"10.1.2.3:80 10.1.2.3:53/udp x.y=10.1.2.3:80 host.internal:5432 example.com:443/udp [::ffff:10.0.0.1]:80 [64:ff9b::a00:1]:80",
			"192.168.1.1:80 host.internal:22 127.0.0.1:80 x.y=127.0.0.1:5432 169.254.169.254:80"},
		{"internet", "::/0", "", "[fd00::1]:80", "[::ffff:169.254.169.254]:80 [64:ff9b::a9fe:a9fe]:80 [fe80::1]:80"},
		{"internet", "", "example.com *.bad.org 1.1.1.0/24 evil.org:25 @npm",
			"www.example.com:443 bad.org:80 evil.org:80 8.8.8.8:53/udp",
			"example.com:443 example.com:443/udp a.bad.org:80 a.b.bad.org:80 1.1.1.1:80 x.y=1.1.1.1:80 evil.org:25 a.npmjs.org:443"},
		{"allow", "example.com *.good.org:443 8.8.8.8:53/udp @github 192.168.0.0/16:22", "gist.good.org",
			"example.com:22 a.good.org:443 example.com=1.1.1.1:443 8.8.8.8:53/udp github.com:22 192.168.1.1:22",
			"www.example.com:443 good.org:443 a.good.org:80 gist.good.org:443 example.com:53/udp 8.8.8.8:53 1.1.1.1:443 " +
				"example.com=10.0.0.1:443 x.y=192.168.1.1:22 [2606:4700::1]:443 gist.github.com:443"},
		{"allow", "*", "", "example.com:1 a.b.c:443", "1.1.1.1:443 a.b=10.0.0.1:80 host.internal:80"},
		{"allow", "* host.internal", "host.internal:22", "host.internal:80", "host.internal:22"},
	} {
		p, err := New(c.mode, strings.Fields(c.allow), strings.Fields(c.deny))
		if err != nil {
			t.Fatal(err)
		}
		for want, texts := range map[bool]string{true: c.allowed, false: c.denied} {
			for _, text := range strings.Fields(texts) {
				q := parseRequest(t, text)
				d := p.Name(q)
				if q.Address.IsValid() {
					d = p.Address(q, own)
				}
				if d.Allowed != want || !want && d.Reason == "" {
					t.Errorf("Mode=%s Allow=%s Deny=%s: %s: %+v, want %v", c.mode, c.allow, c.deny, text, d, want)
				}
			}
		}
	}
}

func parseRequest(t *testing.T, text string) Request {
	t.Helper()
	q := Request{Protocol: TCP}
	text, isUDP := strings.CutSuffix(text, "/udp")
	if isUDP {
		q.Protocol = UDP
	}
	host := text[:strings.LastIndexByte(text, ':')]
	r, err := ParseRule("x:" + text[len(host)+1:])
	if err != nil {
		t.Fatal(err)
	}
	q.Port = r.port
	name, address, found := strings.Cut(host, "=")
	if !found {
		address = host
		if a, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
			q.Address = a
			return q
		}
	} else if q.Address, err = netip.ParseAddr(address); err != nil {
		t.Fatal(err)
	}
	q.Name = name
	return q
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{"*.a.com:443/tcp", "[fd00::/8]:1", "@npm", "10.0.0.0/8"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err == nil && (r.String() != text || len(r.targets) == 0) {
			t.Errorf("%q is %+v", text, r)
		}
	})
}
