package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/netstack"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
)

// serveHTTP passes the requests of an unencrypted connection on, each only if it is for the
// name that was allowed. Requests and answers are parsed and written again, so that both ends
// agree where each of them ends.
func (g *Gateway) serveHTTP(in netstack.Conn, out net.Conn, q policy.Request, d policy.Decision) {
	defer out.Close()
	first := make(chan net.Conn, 1)
	first <- out
	transport := &http.Transport{
		DisableCompression: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswerHeader,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
			}
			c, _, err := g.force.Load().outside.dial(ctx, q, g.judge)
			return c, err
		},
	}
	defer transport.CloseIdleConnections()
	var report sync.Once
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // at once
		ErrorLog:      quiet,
		Rewrite: func(r *httputil.ProxyRequest) {
			// URL.Host is only the key of the transport's connections.
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "destination", r.In.Host
			keepQuery(r)
			// After another upgrade, requests could follow that are not checked.
			if !strings.EqualFold(r.Out.Header.Get("Upgrade"), "websocket") {
				r.Out.Header.Del("Upgrade")
				r.Out.Header.Del("Connection")
			}
		},
	}
	serveOne(in, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := policy.ParseName(hostOf(r.Host))
		if r.Method == http.MethodConnect {
			name, err = "", errors.New("CONNECT is for proxies")
		}
		if refused := g.claims(q, d, name, err); refused != nil {
			g.audit.deniedBy(q, *refused)
			denial(q, *refused).ServeHTTP(w, r)
			return
		}
		report.Do(func() { g.audit.allowed(q, d) })
		proxy.ServeHTTP(w, r)
	}))
}

// keepQuery keeps a query that the proxy would change, because it cannot be parsed.
func keepQuery(r *httputil.ProxyRequest) { r.Out.URL.RawQuery = r.In.URL.RawQuery }

// hostOf returns the host of a Host header, without the port.
func hostOf(host string) string {
	return (&url.URL{Host: host}).Hostname()
}

// denial answers each request with the reason, in words that an agent can act on.
func denial(q policy.Request, d policy.Decision) http.Handler {
	text := fmt.Sprintf("claude-vm denied the connection to %s: %s.\n", strings.TrimSuffix(q.String(), "/tcp"), d.Reason)
	if rule := d.Allow(q); rule != "" {
		text += fmt.Sprintf("Only the user can allow it. To ask: curl -d %s http://%s/ask\n", rule, contract.GatewayName)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		http.Error(w, strings.TrimSuffix(text, "\n"), http.StatusForbidden)
	})
}

// maxAnswerHeader limits the header of an answer in bytes: a server may work together with the guest. Go's
// own limit is 10 MiB, of which maxConnections would exceed the memory of the unit.
const maxAnswerHeader = 256 << 10

// newServer returns an HTTP server with limits for a client that is not trusted.
func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ErrorLog: quiet, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
}

// serveOne serves HTTP on one connection until it is closed.
func serveOne(c net.Conn, h http.Handler) {
	closed := make(chan struct{})
	l := &oneListener{conn: c, closed: closed}
	// Until the handlers have returned, also of a connection that was hijacked for an upgrade.
	var handlers sync.WaitGroup
	defer handlers.Wait()
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		h.ServeHTTP(w, r)
	}))
	var once sync.Once
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed || s == http.StateHijacked {
			once.Do(func() { close(closed) })
		}
	}
	server.Serve(l)
}

// quiet discards what net/http logs about bad clients and servers, which are reported to
// the guest.
var quiet = log.New(io.Discard, "", 0)

// oneListener accepts one connection, and returns an error when it is closed.
type oneListener struct {
	mu     sync.Mutex
	conn   net.Conn
	closed chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }
