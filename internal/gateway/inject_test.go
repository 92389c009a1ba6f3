package gateway

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

const secret = "sk-ant-the-real-key-0123456789"

// injecting returns a world that adds a secret to requests for an API, whose handler is h.
func injecting(t *testing.T, h http.HandlerFunc) *world {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newWorld(t, func(c *Config) {
		c.API = s.URL + "/base"
		c.Secrets = map[string]string{"ANTHROPIC_API_KEY": secret, "CLAUDE_CODE_OAUTH_TOKEN": "oauth-" + secret, "GH": "ghp-" + secret}
		c.Settings.Inject = append(c.Settings.Inject, vm.Injection{Name: "GH", Host: "git.test", Scheme: vm.SchemeBasic}, vm.Injection{Name: "GH", Host: "api.test", Scheme: vm.SchemeBearer})
	})
}

// get sends a request of the guest to gateway.internal with headers, one a line.
func (w *world) get(path string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	text := "GET " + path + " HTTP/1.1\r\nHost: gateway.internal\r\nConnection: close\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	return exchange(w.t, w.must("gateway.internal:80"), text+"\r\n")
}

func TestInject(t *testing.T) {
	w := injecting(t, func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s key=%t auth=%s cookie=%s upgrade=%s", r.URL, r.Header.Get("X-Api-Key") == secret,
			strings.ReplaceAll(r.Header.Get("Authorization"), "oauth-"+secret, "OAUTH"), r.Header.Get("Cookie"), r.Header.Get("Upgrade"))
	})
	for _, c := range []struct{ header, want string }{
		{"X-Api-Key: " + vm.Placeholder("ANTHROPIC_API_KEY"), "key=true auth="},
		{"Authorization: Bearer " + vm.Placeholder("CLAUDE_CODE_OAUTH_TOKEN"), "key=false auth=Bearer OAUTH"},
		{"Authorization: Bearer " + vm.Placeholder("ANTHROPIC_AUTH_TOKEN"), "key=false auth="}, // there is none
		{"X-Api-Key: sk-ant-of-the-guest", "key=false auth="},
		{"Authorization: Bearer sk-of-the-guest", "key=false auth="},
		{"Authorization: Bearer " + vm.Placeholder("GH"), "key=false auth="}, // for another host
	} {
		if _, body := w.get("/v1/messages?beta=true", c.header, "Cookie: a=b", "Upgrade: websocket"); body != "/base/v1/messages?beta=true "+c.want+" cookie= upgrade=" {
			t.Errorf("%s: %s, want %s", c.header, body, c.want)
		}
	}
	if r, body := exchange(t, w.must("gateway.internal:80"), "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("CONNECT: %s %s", r.Status, body)
	}
	if list := w.gateway.Status().Injected; len(list) != 4 {
		t.Errorf("injected: %+v", list)
	}
}

// TestEcho checks that a secret in an answer does not reach the guest.
func TestEcho(t *testing.T) {
	w := injecting(t, func(rw http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("X-Api-Key")
		switch strings.TrimPrefix(r.URL.Path, "/base") {
		case "/header":
			rw.Header().Set("X-Echo", "x"+key)
		case "/body":
			fmt.Fprint(rw, "before ", key, " after")
		case "/pieces":
			fmt.Fprint(rw, "before ")
			for _, c := range key {
				fmt.Fprintf(rw, "%c", c)
				rw.(http.Flusher).Flush()
			}
		case "/other":
			fmt.Fprint(rw, "oauth-"+secret)
		case "/basic":
			fmt.Fprint(rw, basic(secret))
		case "/gzip":
			rw.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(rw)
			fmt.Fprint(z, key)
			z.Close()
		case "/early":
			rw.Header().Set("Link", key)
			rw.WriteHeader(http.StatusEarlyHints)
			rw.Header().Del("Link")
			fmt.Fprint(rw, "body")
		case "/trailer":
			rw.Header().Set("Trailer", "X-Echo")
			fmt.Fprint(rw, "body")
			rw.Header().Set("X-Echo", key)
		case "/redirect":
			http.Redirect(rw, r, "http://169.254.169.254/"+key, http.StatusFound)
		case "/upgrade":
			rw.Header().Set("Connection", "Upgrade")
			rw.Header().Set("Upgrade", "x")
			rw.WriteHeader(http.StatusSwitchingProtocols)
		}
	})
	for _, path := range []string{"/header", "/body", "/pieces", "/other", "/basic", "/gzip", "/early", "/trailer", "/redirect", "/upgrade"} {
		r, body := w.get(path, "X-Api-Key: "+vm.Placeholder("ANTHROPIC_API_KEY"), "Accept-Encoding: gzip", "Connection: Upgrade", "Upgrade: x")
		c := w.must("gateway.internal:80")
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nConnection: close\r\n\r\n", path, vm.Placeholder("ANTHROPIC_API_KEY"))
		raw, _ := io.ReadAll(c)
		all := bytes.NewBuffer(raw)
		r.Header.Write(all)
		r.Trailer.Write(all)
		all.WriteString(body)
		if strings.Contains(all.String(), secret) || r.StatusCode == http.StatusSwitchingProtocols {
			t.Errorf("%s: the guest got %s %s", path, r.Status, all)
		}
		if z, err := gzip.NewReader(strings.NewReader(body)); err == nil {
			if text, _ := io.ReadAll(z); bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s: the guest got the secret, compressed", path)
			}
		}
		if (path == "/body" || path == "/pieces") && !strings.HasPrefix(body, "before ") {
			t.Errorf("%s: %q", path, body)
		}
	}
}

// TestStream checks that a part of an answer arrives before the rest exists.
func TestStream(t *testing.T) {
	more := make(chan bool)
	w := injecting(t, func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, "data: 1\n\nsk-ant-the-real-ke") // the start of the secret is held back
		rw.(http.Flusher).Flush()
		<-more
		fmt.Fprint(rw, "ting\n")
	})
	c := w.must("gateway.internal:80")
	io.WriteString(c, "GET /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(r.Body, first); err != nil || string(first) != "data: 1\n\n" {
		t.Errorf("the first part: %q, %v", first, err)
	}
	close(more)
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != "sk-ant-the-real-keting\n" {
		t.Errorf("the rest: %q, %v", rest, err)
	}
}

// TestLargeBody checks a request that is larger than what the gateway may use of memory.
func TestLargeBody(t *testing.T) {
	w := injecting(t, func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, n)
	})
	const size = 64 << 20
	c := w.must("gateway.internal:80")
	c.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		fmt.Fprintf(c, "POST /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size)
		io.CopyN(c, zeros{}, size)
	}()
	if r, body := exchange(t, c, ""); body != fmt.Sprint(size) {
		t.Errorf("%s %s", r.Status, body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestInjectHost checks the secrets for other hosts, and that a path cannot change the host.
func TestInjectHost(t *testing.T) {
	w := injecting(t, func(http.ResponseWriter, *http.Request) {})
	in := w.gateway.force.Load().inject
	git := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(rw, "%s %s %s %t", r.Host, r.URL.RequestURI(), user, password == "ghp-"+secret)
	}))
	defer git.Close()
	in.transport.TLSClientConfig = git.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	in.transport.TLSClientConfig.ServerName = "example.com"
	in.transport.DialContext = (&dialTo{git.Listener.Addr().String()}).dial
	for path, want := range map[string]string{
		"/host/git.test/a/b.git/info/refs?service=git-upload-pack": "git.test /a/b.git/info/refs?service=git-upload-pack x-access-token true",
		"/host/git.test/a%2Fb":             "git.test /a%2Fb x-access-token true",
		"/host/git.test/../api.test/x":     "",
		"/host/evil.test/x":                "claude-vm adds no secret for evil.test\n",
		"/host/git.test@evil.test/x":       "claude-vm adds no secret for git.test@evil.test\n",
		"/host/git.test:1/x":               "claude-vm adds no secret for git.test:1\n",
		"/host/git.test%2f..%2fevil/x":     "claude-vm adds no secret for git.test/../evil\n",
		"http://evil.test/host/git.test/x": "git.test /x x-access-token true",
	} {
		if _, body := w.get(path, "Authorization: Bearer guest"); want != "" && body != want {
			t.Errorf("%s: %q, want %q", path, body, want)
		} else if strings.Contains(body, "evil") && !strings.HasPrefix(body, "claude-vm adds no secret") {
			t.Errorf("%s: %q", path, body)
		}
	}
}

// TestUnreachableAPI checks that the error has the form that Claude Code shows.
func TestUnreachableAPI(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.API, c.Secrets = "http://user:password@127.0.0.1:1", map[string]string{"ANTHROPIC_API_KEY": secret}
	})
	r, body := w.get("/v1/messages")
	if r.StatusCode != 502 || !strings.Contains(body, `"type":"api_error"`) || !strings.Contains(body, "connection refused") || strings.Contains(body, "password") {
		t.Errorf("%s %s", r.Status, body)
	}
	w = newWorld(t, nil)
	if r, _ := w.get("/v1/messages"); r.StatusCode != 404 {
		t.Errorf("without a secret: %s", r.Status)
	}
}

// FuzzChecked compares the filter with a search in the whole text.
func FuzzChecked(f *testing.F) {
	f.Add([]byte("abcabcabd"), "abcabd", "b")
	f.Add([]byte("aaaaaab"), "aab", "aaaaaaaaa")
	f.Fuzz(func(t *testing.T, text []byte, one, two string) {
		if one == "" || two == "" || len(one)+len(two) > 200 || len(text) > 10_000 { // the search is quadratic
			return
		}
		end := len(text)
		for _, needle := range []string{one, two} {
			if i := bytes.Index(text, []byte(needle)); i >= 0 {
				end = min(end, i)
			}
		}
		for _, r := range []io.Reader{bytes.NewReader(text), iotest.OneByteReader(bytes.NewReader(text)), iotest.HalfReader(bytes.NewReader(text)), iotest.DataErrReader(bytes.NewReader(text))} {
			got, err := io.ReadAll(&checked{ReadCloser: io.NopCloser(r), needles: [][]byte{[]byte(one), []byte(two)}})
			if bytes.Contains(got, []byte(one)) || bytes.Contains(got, []byte(two)) || !bytes.HasPrefix(text, got) {
				t.Fatalf("%q without %q and %q is %q", text, one, two, got)
			}
			if found := end < len(text); found != errors.Is(err, errEcho) || !found && len(got) != len(text) {
				t.Fatalf("%q without %q and %q is %q, %v", text, one, two, got, err)
			}
		}
	})
}
