package main

import (
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
)

func TestDescribeNetwork(t *testing.T) {
	v := &target{dir: "/srv/web"}
	now := time.Now()
	got := v.describeNetwork(control.Status{
		Mode: "allow", Allow: []control.Rule{{Rule: "@npm"}, {Rule: "a.test", Live: true}}, Deny: []control.Rule{{Rule: "b.test"}},
		Ports:       []control.Port{{Port: "127.0.0.1:1:2/tcp"}, {Port: "127.0.0.1:3:3/tcp", Live: true, Error: "in use"}},
		Connections: []control.Connection{{Protocol: "tcp", Name: "a.test", Address: "1.1.1.1", Port: 443, Since: now}, {Protocol: "udp", Address: "1.1.1.2", Port: 5, Since: now}},
		Denied:      []control.Denied{{Target: "c.test:80/tcp", Reason: "no", Count: 2, Last: now, Allow: "c.test:80"}, {Target: "10.0.0.1:1/tcp", Reason: "private\x1b[31m", Count: 1, Last: now}},
		Requests:    []control.Asked{{Rule: "*.d.test", Reason: "the tests \x1b[31m"}}, Injected: []control.Secret{{Name: "KEY", Host: "api.test"}}, Proxy: "http://u:xxxxx@p:1",
	}, "/etc/web.vm")
	want := strings.TrimPrefix(`
 Directory: /srv/web
  .vm file: /etc/web.vm
      Mode: allow
     Allow: @npm
     Allow: a.test (until the VM stops)
      Deny: b.test
      Port: 127.0.0.1:1:2/tcp
      Port: 127.0.0.1:3:3/tcp (until the VM stops): in use
    Secret: KEY, for api.test
     Proxy: http://u:xxxxx@p:1
Connection: a.test (1.1.1.1) port 443/tcp, 0 s
Connection: 1.1.1.2 port 5/udp, 0 s
    Denied: c.test:80/tcp, 2 times, 0 s ago: no
            to allow it: claude-vm-ctl network /srv/web allow c.test:80
    Denied: 10.0.0.1:1/tcp, 0 s ago: private [31m
   Request: *.d.test: "the tests \x1b[31m"
            to allow it: claude-vm-ctl network /srv/web allow '*.d.test'
`, "\n")
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
