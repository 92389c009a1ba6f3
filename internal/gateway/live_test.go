package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
)

// TestChange checks live changes, that they close connections, and that they survive the
// gateway.
func TestChange(t *testing.T) {
	w := newWorld(t, network("allow", "a.test", "never.test"))
	for _, name := range []string{"a.test", "b.test", "never.test"} {
		w.host(name, "93.184.216.34")
	}
	w.echo("93.184.216.34:7")
	if w.echoes("b.test:7") {
		t.Error("b.test is allowed at first")
	}
	denied := w.gateway.Status().Denied
	if len(denied) != 1 || denied[0].Target != "b.test:7/tcp" || denied[0].Count != 1 || denied[0].Allow != "b.test:7" {
		t.Errorf("denied: %+v", denied)
	}
	if err := w.gateway.Change(control.Change{Allow: []string{denied[0].Allow}}); err != nil {
		t.Fatal(err)
	}
	kept, cut := w.must("a.test:7"), w.must("b.test:7")
	if !answers(kept) || !answers(cut) {
		t.Fatal("not allowed after the change")
	}
	if n := len(w.gateway.Status().Connections); n != 2 {
		t.Errorf("%d connections", n)
	}
	for _, c := range []control.Change{
		{Allow: []string{"never.test"}}, {Allow: []string{"a b"}}, {Reset: []string{"a.test"}}, {Publish: []string{"x"}},
		{Allow: []string{"c.test"}, Publish: []string{"0"}},
	} {
		if err := w.gateway.Change(c); err == nil {
			t.Errorf("%+v is no error", c)
		}
	}
	if err := w.gateway.Change(control.Change{Deny: []string{"b.test"}}); err != nil {
		t.Fatal(err)
	}
	if !answers(kept) {
		t.Error("a connection that is allowed was closed")
	}
	for end := time.Now().Add(5 * time.Second); answers(cut); { // it is closed in the background
		if time.Now().After(end) {
			t.Fatal("a connection that is denied was not closed")
		}
	}
	port := freePort(t)
	if err := w.gateway.Change(control.Change{Publish: []string{fmt.Sprint(port)}, Reset: []string{"b.test"}}); err != nil {
		t.Fatal(err)
	}
	before := w.address("a.test")
	w.gateway.unpublish(vmPort(t, fmt.Sprint(port))) // as if the process had been killed
	w.start(true)
	s := w.gateway.Status()
	if len(s.Allow) != 2 || !s.Allow[1].Live || len(s.Deny) != 1 || len(s.Ports) != 1 || s.Ports[0].Error != "" {
		t.Errorf("after a restart: %+v", s)
	}
	if got := w.address("a.test"); got != before {
		t.Errorf("a.test is %v, was %v", got, before)
	}
	// The guest still has the old address.
	if c := w.must(before.String() + ":7"); !answers(c) {
		t.Error("the address of before the restart does not work")
	}
}

func TestAsk(t *testing.T) {
	w := newWorld(t, network("allow", "", ""))
	post := func(text string) (int, string) {
		r, body := exchange(t, w.must("gateway.internal:80"), fmt.Sprintf("POST /ask HTTP/1.1\r\nHost: gateway.internal\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
		return r.StatusCode, body
	}
	if status, body := post("example.com:443 for \x1b[31m \u009b31m \u202e tests " + strings.Repeat("x", 500)); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	for range 2 * maxAsks {
		post("example.com:443 again")
	}
	if status, _ := post("%%% x"); status != 400 {
		t.Errorf("an invalid rule: %d", status)
	}
	asks := w.gateway.Status().Requests
	if len(asks) != 1 || asks[0].Rule != "example.com:443" || len(asks[0].Reason) > maxReason+3 {
		t.Errorf("requests: %+v", asks)
	}
	if strings.ContainsAny(asks[0].Reason, "\x1b\u009b\u202e") { // also JSON shows it, of which a terminal obeys U+009B
		t.Errorf("the reason is %q", asks[0].Reason)
	}
	if err := w.gateway.Change(control.Change{Allow: []string{"example.com:443"}}); err != nil {
		t.Fatal(err)
	}
	if asks := w.gateway.Status().Requests; len(asks) != 0 {
		t.Errorf("requests after one is granted: %+v", asks)
	}
	if _, body := exchange(t, w.must("gateway.internal:80"), "GET / HTTP/1.1\r\nHost: gateway.internal\r\nConnection: close\r\n\r\n"); !strings.Contains(body, "  example.com:443\n") {
		t.Errorf("description: %s", body)
	}
	for i := range maxAsks {
		post(fmt.Sprintf("n%d.test", i))
	}
	// Each time that the file is created, the user manager starts a process.
	file := filepath.Join(w.gateway.directory, control.AskedFile)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if status, _ := post("more.test"); status != 429 {
			t.Errorf("one more than the user is asked for: %d", status)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the user is to be shown a request that is not kept")
	}
	w.gateway.force.Load().settings.Ask = false
	if status, _ := post("example.org"); status != 403 {
		t.Errorf("Ask=no: %d", status)
	}
}
