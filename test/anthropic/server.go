// Package anthropic is a fake of the Anthropic HTTP API that implements enough for the
// real Claude Code to hold a conversation without an account. The prompt contains a
// directive that determines the model's reply (see script.go). The fake accepts any
// credential and has no models, limits or billing. Its only state is the record of
// requests, and which of them it has answered with an error.
package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
)

// maxBody is the size at which the real API answers 413.
const maxBody = 32 << 20

// Request is the record of one request.
type Request struct {
	Method string
	Path   string
	Header http.Header
	// LastUserText is the prompt of a message request, without the client's
	// reminders. It is empty for other requests.
	LastUserText string
	Body         string
}

// Server answers the API's requests and records them. It is an http.Handler
// and safe for concurrent use.
type Server struct {
	mux *http.ServeMux

	mu       sync.Mutex
	requests []Request
	lastID   int
	failed   map[string]bool // prompts whose first request was answered with an error
}

// New returns a server with an empty record.
func New() *Server {
	s := &Server{mux: http.NewServeMux(), failed: map[string]bool{}}
	s.mux.HandleFunc("POST /v1/messages", s.messages)
	s.mux.HandleFunc("POST /v1/messages/count_tokens", countTokens)
	s.mux.HandleFunc("GET /v1/models", listModels)
	// The client probes the root before its first request.
	s.mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "no such endpoint: "+r.Method+" "+r.URL.Path)
	})
	return s
}

// Requests returns the requests received so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP records the request and answers it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, err.Error())
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.record(r, body)
	s.mux.ServeHTTP(w, r)
}

func (s *Server) record(r *http.Request, body []byte) {
	rec := Request{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Body: string(body)}
	var call call
	if json.Unmarshal(body, &call) == nil {
		rec.LastUserText, _ = call.prompt()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, rec)
}

// newID returns an identifier that is unique for this server.
func (s *Server) newID(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return fmt.Sprintf("%s_%06d", prefix, s.lastID)
}

// first reports whether this is the first request with a prompt.
func (s *Server) first(prompt string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.failed[prompt]
	s.failed[prompt] = true
	return first
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	var call call
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		writeError(w, http.StatusBadRequest, fmt.Sprintf("read the request: %v", err))
		return
	}
	if len(call.Messages) == 0 {
		writeError(w, http.StatusBadRequest, "messages: at least one message is required")
		return
	}
	reply := call.reply()
	if prompt, _ := call.prompt(); reply.once && !s.first(prompt) {
		reply.status = 0
	}
	if reply.status != 0 && reply.once {
		w.Header().Set("Retry-After", "1")
		writeError(w, reply.status, "overloaded, as the prompt asked for")
		return
	}
	if reply.status != 0 {
		// Without this the client retries for minutes, even after a 401.
		w.Header().Set("X-Should-Retry", "false")
		writeError(w, reply.status, "the prompt asked for this error")
		return
	}
	m := message{
		ID:      s.newID("msg"),
		Type:    "message",
		Role:    "assistant",
		Model:   call.Model,
		Content: []block{reply.block(s.newID("toolu"))},
		Usage:   usage{InputTokens: 1, OutputTokens: 1},
	}
	stop := reply.stopReason()
	if call.Stream {
		m.stream(w, stop)
		return
	}
	m.StopReason = &stop
	writeJSON(w, http.StatusOK, m)
}

func countTokens(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	// Assume four bytes per token: the client only compares the number with its limits.
	writeJSON(w, http.StatusOK, map[string]any{"input_tokens": n/4 + 1})
}

func listModels(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"data":     []any{},
		"has_more": false,
		"first_id": nil,
		"last_id":  nil,
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error here means that the client has disconnected.
	_ = json.NewEncoder(w).Encode(v)
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]any{
		"type":  "error",
		"error": map[string]string{"type": errorType(status), "message": text},
	})
}

// errorType returns the API's name for a status.
func errorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}
