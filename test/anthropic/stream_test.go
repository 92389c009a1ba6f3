package anthropic

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// event is any server-sent event of the API.
type event struct {
	Type         string
	ContentBlock map[string]any `json:"content_block"`
	Message      map[string]any
	Delta        struct {
		Type        string
		Text        string
		PartialJSON string `json:"partial_json"`
		StopReason  string `json:"stop_reason"`
	}
}

// events parses a stream and fails on anything outside the format.
func events(t *testing.T, r io.Reader) []event {
	t.Helper()
	var all []event
	var name string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			var e event
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				t.Fatalf("data %s: %v", value, err)
			}
			if e.Type != name {
				t.Errorf("type in data = %q, want the event's %q", e.Type, name)
			}
			all = append(all, e)
		case "":
			name = ""
		default:
			t.Fatalf("unknown line in the stream: %q", lines.Text())
		}
	}
	return all
}

func TestStream(t *testing.T) {
	tests := []struct {
		name, prompt                string
		wantBlock, wantStop         string
		wantText, wantInput, wantID string
	}{
		{
			name: "text", prompt: "say: grüße an die ganze weite Welt",
			wantBlock: "text", wantStop: "end_turn", wantText: "grüße an die ganze weite Welt",
		},
		{
			name: "tool use", prompt: "create a.txt: grüße",
			wantBlock: "tool_use", wantStop: "tool_use", wantID: "toolu_000002",
			wantInput: `{"content":"grüße","file_path":"/work/a.txt"}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := post(t, New(), "/v1/messages", request(prompt(test.prompt), map[string]any{"stream": true}))
			if got, want := w.Header().Get("Content-Type"), "text/event-stream; charset=utf-8"; got != want {
				t.Errorf("Content-Type = %q, want %q", got, want)
			}
			var types []string
			var text, input, stop, block, id string
			for _, e := range events(t, w.Body) {
				types = append(types, e.Type)
				text += e.Delta.Text
				input += e.Delta.PartialJSON
				stop += e.Delta.StopReason
				if e.ContentBlock != nil {
					block, _ = e.ContentBlock["type"].(string)
					id, _ = e.ContentBlock["id"].(string)
				}
			}
			got := []string{block, stop, text, input, id}
			want := []string{test.wantBlock, test.wantStop, test.wantText, test.wantInput, test.wantID}
			if !slices.Equal(got, want) {
				t.Errorf("block, stop, text, input, id = %q, want %q", got, want)
			}
			wantTypes := []string{"message_start", "content_block_start", "ping", "content_block_delta",
				"content_block_stop", "message_delta", "message_stop"}
			if got := slices.Compact(types); !slices.Equal(got, wantTypes) {
				t.Errorf("events = %q, want %q", got, wantTypes)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	tests := map[string]struct {
		status int
		kind   string
	}{
		"fail: 400": {400, "invalid_request_error"},
		"fail: 401": {401, "authentication_error"},
		"fail: 403": {403, "permission_error"},
		"fail: 404": {404, "not_found_error"},
		"fail: 413": {413, "request_too_large"},
		"fail: 429": {429, "rate_limit_error"},
		"fail: 500": {500, "api_error"},
		"fail: 529": {529, "overloaded_error"},
	}
	for line, test := range tests {
		t.Run(line, func(t *testing.T) {
			w := post(t, New(), "/v1/messages", request(prompt(line), map[string]any{"stream": true}))
			if w.Code != test.status {
				t.Errorf("status = %d, want %d", w.Code, test.status)
			}
			if got := errorKind(t, w); got != test.kind {
				t.Errorf("error type = %q, want %q", got, test.kind)
			}
			if got := w.Header().Get("X-Should-Retry"); got != "false" {
				t.Errorf("X-Should-Retry = %q, want false", got)
			}
		})
	}
}

func errorKind(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Type  string
		Error struct{ Type, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != "error" || body.Error.Message == "" {
		t.Errorf("body = %s, want an error with a message", w.Body)
	}
	return body.Error.Type
}

func TestBadRequests(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":     "hello",
		"no messages": `{"model": "claude-test", "messages": []}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			New().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(body)))
			if got := errorKind(t, w); w.Code != 400 || got != "invalid_request_error" {
				t.Errorf("status, type = %d, %q, want 400, invalid_request_error", w.Code, got)
			}
		})
	}
}
