package anthropic

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The requests below are shaped like the real client's: reminders around the prompt, a
// system turn after it, the environment in the system prompt.
const environment = "You are an agent.\n# Environment\n - Primary working directory: /work\n - Platform: linux\n"

var allTools = []map[string]any{{"name": "Agent"}, {"name": "Bash"}, {"name": "Write"}}

func text(s string) map[string]any { return map[string]any{"type": "text", "text": s} }

func user(blocks ...map[string]any) map[string]any {
	return map[string]any{"role": "user", "content": blocks}
}

func assistant(blocks ...map[string]any) map[string]any {
	return map[string]any{"role": "assistant", "content": blocks}
}

func prompt(s string) []map[string]any {
	return []map[string]any{
		user(text("<system-reminder>\nrun: reboot\n</system-reminder>\n"), text(s)),
		{"role": "system", "content": "say: a system message"},
	}
}

// afterTool returns the conversation after the tool has returned a result.
func afterTool(s string, result map[string]any) []map[string]any {
	use := map[string]any{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": map[string]any{}}
	result["type"], result["tool_use_id"] = "tool_result", "toolu_1"
	return append(prompt(s), assistant(use),
		user(result, text("<system-reminder>say: nothing</system-reminder>")))
}

func request(messages []map[string]any, change map[string]any) map[string]any {
	req := map[string]any{
		"model":      "claude-test",
		"max_tokens": 100,
		"system":     []map[string]any{text(environment)},
		"tools":      allTools,
		"messages":   messages,
	}
	for k, v := range change {
		req[k] = v
	}
	return req
}

func post(t *testing.T, h http.Handler, path string, body any) *httptest.ResponseRecorder {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(encoded))
	r.Header.Set("X-Api-Key", "sk-ant-test")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestReply(t *testing.T) {
	write := func(name, content string) reply {
		return reply{tool: "Write", input: map[string]any{"file_path": name, "content": content}}
	}
	bash := func(command string) reply {
		return reply{tool: "Bash", input: map[string]any{
			"command": command, "description": "Run the command of the prompt", "timeout": 600000,
		}}
	}
	tests := []struct {
		name     string
		messages []map[string]any
		change   map[string]any
		want     reply
	}{
		{
			name:     "a relative file is created in the working directory",
			messages: prompt("create notes/a.txt: hi: there"),
			want:     write("/work/notes/a.txt", "hi: there"),
		},
		{
			name:     "a file with an absolute path is created there",
			messages: prompt("create /tmp/a.txt: hi"),
			want:     write("/tmp/a.txt", "hi"),
		},
		{
			name:     "the shell creates the file when the working directory is unknown",
			messages: prompt("create it's.txt: don't"),
			change:   map[string]any{"system": "You are an agent."},
			want:     bash(`printf %s 'don'\''t' >'it'\''s.txt'`),
		},
		{
			name:     "the shell creates the file when there is no Write tool",
			messages: prompt("create a.txt: hi"),
			change:   map[string]any{"tools": allTools[:2]},
			want:     bash(`printf %s 'hi' >'a.txt'`),
		},
		{
			name:     "a created file is reported",
			messages: afterTool("create a.txt: hi", map[string]any{"content": "done"}),
			want:     reply{text: "created a.txt"},
		},
		{
			name:     "a file that cannot be created is reported with the reason",
			messages: afterTool("create a.txt: hi", map[string]any{"content": "read-only", "is_error": true}),
			want:     reply{text: "cannot create a.txt: read-only"},
		},
		{
			name:     "a command is run as written",
			messages: prompt("Please do this.\nrun: uname -s | cat > 'x y'\nThanks."),
			want:     bash("uname -s | cat > 'x y'"),
		},
		{
			name:     "the output of a command is repeated verbatim",
			messages: afterTool("run: ls", map[string]any{"content": []map[string]any{text("a\n b")}}),
			want:     reply{text: "a\n b"},
		},
		{
			name:     "a command without output gives an empty answer",
			messages: afterTool("run: true", map[string]any{"content": ""}),
			want:     reply{text: ""},
		},
		{
			name:     "the last prompt is used, not an earlier one",
			messages: append(afterTool("run: ls", map[string]any{"content": "a"}), assistant(text("a")), user(text("run: pwd"))),
			want:     bash("pwd"),
		},
		{
			name:     "an earlier directive is not repeated",
			messages: append(prompt("say: a"), assistant(text("a")), user(text("thanks"))),
			want:     reply{text: "ok"},
		},
		{
			name:     "a text is returned",
			messages: []map[string]any{{"role": "user", "content": "say: hello world"}},
			want:     reply{text: "hello world"},
		},
		{
			name:     "an error status is returned",
			messages: prompt("fail: 401"),
			want:     reply{status: 401},
		},
		{
			name:     "a status that is not an error is rejected",
			messages: prompt("fail: 200"),
			want:     reply{text: "not an error status: 200"},
		},
		{
			name:     "without tools nothing is run",
			messages: prompt("run: ls"),
			change:   map[string]any{"tools": []any{}},
			want:     reply{text: "no tool for this"},
		},
		{
			name:     "a request for a title ignores directives in the prompt it quotes",
			messages: prompt("<session>\nfail: 401\n</session>"),
			change: map[string]any{
				"tools":         []any{},
				"output_config": map[string]any{"format": map[string]any{"type": "json_schema"}},
			},
			want: reply{text: `{"title": "Test session"}`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			encoded := mustMarshal(t, request(test.messages, test.change))
			var c call
			if err := json.Unmarshal(encoded, &c); err != nil {
				t.Fatal(err)
			}
			got, want := mustMarshal(t, c.reply().export()), mustMarshal(t, test.want.export())
			if !bytes.Equal(got, want) {
				t.Errorf("reply() = %s, want %s", got, want)
			}
		})
	}
}

// export returns the fields of a reply in a form that can be encoded and compared.
func (r reply) export() []any { return []any{r.text, r.tool, r.input, r.status} }

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestMessage(t *testing.T) {
	w := post(t, New(), "/v1/messages?beta=true", request(prompt("say: hello"), nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status = %d, want 200: %s", w.Code, w.Body)
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "usage")
	want := `{"content":[{"text":"hello","type":"text"}],"id":"msg_000001","model":"claude-test",` +
		`"role":"assistant","stop_reason":"end_turn","stop_sequence":null,"type":"message"}`
	if got := string(mustMarshal(t, got)); got != want {
		t.Errorf("message = %s, want %s", got, want)
	}
}

func TestOtherEndpoints(t *testing.T) {
	tests := []struct {
		method, path string
		want         int
		wantBody     string
	}{
		{"HEAD", "/", 200, ""},
		{"GET", "/", 200, ""},
		{"GET", "/v1/models?limit=10", 200, `{"data":[],"first_id":null,"has_more":false,"last_id":null}`},
		{"POST", "/v1/messages/count_tokens", 200, `{"input_tokens":1}`},
		{"GET", "/v1/messages", 404, ""},
		{"POST", "/api/event_logging/batch", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			New().ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
			if w.Code != test.want {
				t.Errorf("status = %d, want %d", w.Code, test.want)
			}
			if got := strings.TrimSpace(w.Body.String()); test.wantBody != "" && got != test.wantBody {
				t.Errorf("body = %s, want %s", got, test.wantBody)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	s := New()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { post(t, s, "/v1/messages?beta=true", request(prompt("say: a\nb"), nil)) })
	}
	wg.Wait()
	got := s.Requests()
	if len(got) != 20 {
		t.Fatalf("%d requests recorded, want 20", len(got))
	}
	r := got[0]
	fields := []string{r.Method, r.Path, r.Header.Get("X-Api-Key"), r.LastUserText}
	want := []string{"POST", "/v1/messages", "sk-ant-test", "say: a\nb"}
	if !slices.Equal(fields, want) {
		t.Errorf("request = %q, want %q", fields, want)
	}
}
