package gateway

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
)

const (
	// maxAsks is the number of names that the guest may ask for at the same time.
	maxAsks = 20
	// maxReason is the length of the guest's reason in bytes.
	maxReason = 200
)

// local is the service at http://gateway.internal in the guest.
func (g *Gateway) local() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", g.describe)
	mux.HandleFunc("POST /ask", g.ask)
	mux.HandleFunc("/host/{host}/", func(w http.ResponseWriter, r *http.Request) { g.force.Load().inject.serveHost(w, r) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { g.force.Load().inject.serveAPI(w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			http.Error(w, "this is no proxy", http.StatusMethodNotAllowed)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// describe answers what the guest may reach.
func (g *Gateway) describe(w http.ResponseWriter, _ *http.Request) {
	p := g.current()
	switch p.Mode {
	case policy.Allow:
		fmt.Fprintln(w, "This VM may connect only to the names and addresses in this list:")
	default:
		fmt.Fprintln(w, "This VM may connect to the public Internet, but not to its host or the host's network.")
		if len(p.Allow) > 0 {
			fmt.Fprintln(w, "In addition, it may connect to:")
		}
	}
	for _, r := range p.Allow {
		fmt.Fprintf(w, "  %s\n", r)
	}
	if len(p.Deny) > 0 {
		fmt.Fprintln(w, "It may never connect to:")
	}
	for _, r := range p.Deny {
		fmt.Fprintf(w, "  %s\n", r)
	}
	fmt.Fprintf(w, "Only the user can change this. To ask for a name, with a reason:\n  curl -d 'example.com because ...' http://%s/ask\n", contract.GatewayName)
}

// ask notes that the guest asks for a name: "RULE REASON".
func (g *Gateway) ask(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1024))
	if err != nil {
		http.Error(w, "the request is too long", http.StatusRequestEntityTooLarge)
		return
	}
	word, reason, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if !g.force.Load().settings.Ask {
		http.Error(w, "The user does not accept requests (Ask=no).", http.StatusForbidden)
		return
	}
	if _, err := policy.ParseRule(word); err != nil {
		http.Error(w, fmt.Sprintf("%s: %v", word, err), http.StatusBadRequest)
		return
	}
	if slices.ContainsFunc(g.current().Deny, func(r policy.Rule) bool { return r.String() == word }) {
		http.Error(w, "The user has denied "+word+".", http.StatusForbidden)
		return
	}
	reason = failure.OneLine(strings.ToValidUTF8(reason, "\uFFFD"))
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	g.mu.Lock()
	known := slices.ContainsFunc(g.asks, func(a control.Asked) bool { return a.Rule == word })
	full := !known && len(g.asks) >= maxAsks
	if !known && !full {
		g.asks = append(g.asks, control.Asked{Rule: word, Reason: reason, Time: time.Now()})
	}
	g.mu.Unlock()
	if full { // neither logged nor shown: the guest can ask at any rate
		http.Error(w, "The user has not answered earlier requests. Try again later.", http.StatusTooManyRequests)
		return
	}
	if !known {
		g.audit.asked(word, reason)
		if err := os.WriteFile(filepath.Join(g.directory, control.AskedFile), nil, 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	fmt.Fprintln(w, "The user was asked. Try again later.")
}
