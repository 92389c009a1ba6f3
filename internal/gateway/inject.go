package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// inject adds secrets to requests. The guest has placeholders: to requests of Claude Code,
// it sends them in the headers in which the API expects the secret; for other hosts, it needs
// nothing.
type inject struct {
	api       *url.URL        // nil if there is no secret for it
	forAPI    map[string]bool // names of the secrets for it
	hosts     map[string]vm.Injection
	secrets   map[string]string
	transport *http.Transport
	needles   [][]byte // what no answer may contain
	refused   func()   // called if a server does not accept a secret; may be nil
}

// newInject returns an error if the URL of the API is invalid.
func newInject(c Config, o *outside) (*inject, error) {
	in := &inject{hosts: map[string]vm.Injection{}, forAPI: map[string]bool{}, secrets: c.Secrets}
	for _, i := range c.Settings.Inject {
		secret := c.Secrets[i.Name]
		switch {
		case secret == "":
			continue
		case i.Host != "":
			in.hosts[i.Host] = i
		default:
			in.forAPI[i.Name] = true
		}
		in.needles = append(in.needles, []byte(secret), []byte(basic(secret)))
	}
	if len(in.forAPI) > 0 {
		var err error
		in.api, err = url.Parse(c.API)
		if err != nil || in.api.Host == "" || in.api.Scheme != "https" && in.api.Scheme != "http" {
			return nil, errors.New("ANTHROPIC_BASE_URL is not the URL of an API") // it may contain a password
		}
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	in.transport = &http.Transport{
		Proxy:       func(r *http.Request) (*url.URL, error) { return o.proxy(r.URL) },
		DialContext: dialer.DialContext,
		// A copy, because the transport changes it.
		TLSClientConfig: o.tls.Clone(), ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16, MaxResponseHeaderBytes: maxAnswerHeader,
		// A connection can be dead after the host was suspended, or has changed its network.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return in, nil
}

// list returns the secrets that are added, and for which hosts.
func (in *inject) list() []control.Secret {
	list := []control.Secret{}
	for name := range in.forAPI {
		list = append(list, control.Secret{Name: name, Host: in.api.Host})
	}
	for host, i := range in.hosts {
		list = append(list, control.Secret{Name: i.Name, Host: host})
	}
	slices.SortFunc(list, func(a, b control.Secret) int { return strings.Compare(a.Name+a.Host, b.Name+b.Host) })
	return list
}

// basic is the form of a password in HTTP's Basic authentication. GitHub and GitLab ignore
// the user name if the password is a token.
func basic(secret string) string {
	return base64.StdEncoding.EncodeToString([]byte("x-access-token:" + secret))
}

// serveAPI passes a request of Claude Code to the API.
func (in *inject) serveAPI(w http.ResponseWriter, r *http.Request) {
	if in.api == nil {
		http.Error(w, "claude-vm has no secret for the API of Claude Code", http.StatusNotFound)
		return
	}
	in.pass(w, r, in.api, func(h http.Header) {
		for _, key := range []string{"Authorization", "X-Api-Key"} {
			values := h.Values(key)
			h.Del(key)
			if len(values) != 1 {
				continue
			}
			scheme, value, found := strings.Cut(values[0], " ")
			if !found {
				scheme, value = "", values[0]
			}
			// What is not a placeholder is the guest's own, and is not passed on.
			if name, found := vm.PlaceholderName(value); found && in.forAPI[name] {
				h.Set(key, strings.TrimSpace(scheme+" "+in.secrets[name]))
			}
		}
	})
}

// serveHost passes a request to another host. The path in the request is /host/HOST/PATH.
func (in *inject) serveHost(w http.ResponseWriter, r *http.Request) {
	host := r.PathValue("host")
	i, found := in.hosts[strings.ToLower(host)]
	if !found {
		http.Error(w, fmt.Sprintf("claude-vm adds no secret for %s", host), http.StatusNotFound)
		return
	}
	prefix := "/host/" + host
	r.URL.Path = strings.TrimPrefix(r.URL.Path, prefix)
	r.URL.RawPath = strings.TrimPrefix(r.URL.RawPath, prefix)
	in.pass(w, r, &url.URL{Scheme: "https", Host: i.Host}, func(h http.Header) {
		secret := in.secrets[i.Name]
		switch i.Scheme {
		case vm.SchemeBearer:
			h.Set("Authorization", "Bearer "+secret)
		case vm.SchemeBasic:
			h.Set("Authorization", "Basic "+basic(secret))
		default:
			h.Del("Authorization")
			h.Set(i.Scheme, secret)
		}
	})
}

// pass passes a request to a server with the headers changed. An answer that contains a
// secret is cut before the secret.
func (in *inject) pass(w http.ResponseWriter, r *http.Request, to *url.URL, change func(http.Header)) {
	proxy := &httputil.ReverseProxy{
		Transport:     withoutTrailers{in.transport},
		FlushInterval: -1, // the answers of the API are streams
		ErrorLog:      quiet,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			keepQuery(p)
			p.Out.Host = to.Host
			// The bytes of a protocol after an upgrade would not be checked, nor compressed ones.
			p.Out.Header.Del("Upgrade")
			p.Out.Header.Del("Connection")
			p.Out.Header.Del("Accept-Encoding")
			p.Out.Header.Del("Proxy-Authorization")
			p.Out.Header.Del("Cookie")
			change(p.Out.Header)
		},
		ModifyResponse: in.check,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			json.NewEncoder(w).Encode(map[string]any{"type": "error", "error": map[string]string{
				"type": "api_error", "message": fmt.Sprintf("claude-vm's gateway: %s: %v", to.Host, in.redact(err)),
			}})
		},
	}
	proxy.ServeHTTP(finalOnly{w}, r)
}

// finalOnly ignores answers before the final one, such as 103 Early Hints, which are not checked.
type finalOnly struct{ http.ResponseWriter }

func (w finalOnly) WriteHeader(status int) {
	if status >= 200 {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w finalOnly) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// withoutTrailers removes the headers after the body, which check cannot see.
type withoutTrailers struct{ http.RoundTripper }

func (t withoutTrailers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c := *answer // the body writes the trailers to answer
	c.Trailer = nil
	c.Header.Del("Trailer")
	return &c, nil
}

var errEcho = errors.New("the answer contains the secret that was added to the request")

// check rejects an answer with a secret in its headers, and makes one with a secret in its
// body end before it.
func (in *inject) check(r *http.Response) error {
	if encoding := r.Header.Get("Content-Encoding"); r.StatusCode == http.StatusSwitchingProtocols || encoding != "" && encoding != "identity" {
		return errors.New("the answer cannot be checked: it is compressed or not HTTP")
	}
	if r.StatusCode == http.StatusUnauthorized && in.refused != nil {
		in.refused()
	}
	for _, values := range r.Header {
		for _, value := range values {
			if in.contains([]byte(value)) {
				return errEcho
			}
		}
	}
	r.Body = &checked{ReadCloser: r.Body, needles: in.needles}
	return nil
}

func (in *inject) contains(text []byte) bool {
	return slices.ContainsFunc(in.needles, func(n []byte) bool { return bytes.Contains(text, n) })
}

// redact returns the text of an error without secrets, which may be in a URL.
func (in *inject) redact(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if text := err.Error(); !in.contains([]byte(text)) {
		return text
	}
	return "failed"
}

// checked is a stream that ends with an error before the first needle. It holds back only
// what may be the start of one.
type checked struct {
	io.ReadCloser
	needles [][]byte
	buf     []byte // read but not returned
	ready   int    // bytes of buf that can be returned
	err     error
}

func (c *checked) Read(p []byte) (int, error) {
	for c.ready == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.fill(len(p))
	}
	n := copy(p, c.buf[:c.ready])
	c.buf, c.ready = c.buf[n:], c.ready-n
	return n, nil
}

// fill reads up to n bytes and sets ready.
func (c *checked) fill(n int) {
	chunk := make([]byte, max(n, 512))
	n, c.err = c.ReadCloser.Read(chunk)
	c.buf = append(c.buf, chunk[:n]...)
	c.ready = len(c.buf)
	if c.err == nil {
		c.ready -= c.held()
	}
	for _, needle := range c.needles {
		if i := bytes.Index(c.buf, needle); i >= 0 && i < c.ready+len(needle) {
			c.ready, c.err = min(c.ready, i), errEcho
			c.buf = c.buf[:c.ready]
		}
	}
}

// held returns the length of the longest end of buf that is the start of a needle.
func (c *checked) held() int {
	longest := 0
	for _, needle := range c.needles {
		for n := min(len(needle)-1, len(c.buf)); n > longest; n-- {
			if bytes.HasSuffix(c.buf, needle[:n]) {
				longest = n
				break
			}
		}
	}
	return longest
}
