package anthropic

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clientVariable is the environment variable with the path of the real client.
const clientVariable = "CLAUDE_BINARY"

func TestRealClient(t *testing.T) {
	claude := os.Getenv(clientVariable)
	if claude == "" {
		t.Skipf("%s is not set to the claude program", clientVariable)
	}
	tests := []struct {
		name, prompt string
		want         string
		wantStatus   int
		wantFiles    map[string]string
	}{
		{
			name: "creates a file", prompt: "create hello.txt: hi",
			want: "created hello.txt", wantFiles: map[string]string{"hello.txt": "hi"},
		},
		{
			name: "runs a command", prompt: "run: echo a >made; printf 'x\\n y'",
			want: "x\n y", wantFiles: map[string]string{"made": "a\n"},
		},
		{name: "prints a text", prompt: "say: grüße an die ganze weite Welt", want: "grüße an die ganze weite Welt"},
		{name: "answers anything", prompt: "what is this?", want: "ok"},
		{name: "fails", prompt: "fail: 401", wantStatus: 1,
			want: "Failed to authenticate. API Error: 401 the prompt asked for this error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			api, work := New(), t.TempDir()
			got, status := runClient(t, claude, client{api: api, work: work, prompt: test.prompt})
			if got != test.want || status != test.wantStatus {
				t.Errorf("output, status = %q, %d, want %q, %d", got, status, test.want, test.wantStatus)
			}
			for name, want := range test.wantFiles {
				if got, err := os.ReadFile(filepath.Join(work, name)); err != nil || string(got) != want {
					t.Errorf("%s = %q, %v, want %q", name, got, err, want)
				}
			}
			checkRecord(t, api, test.prompt)
		})
	}
}

type client struct {
	api    *Server
	work   string
	prompt string
}

// runClient runs the client in print mode and returns its output, without the trailing
// newline, and its exit status.
func runClient(t *testing.T, claude string, c client) (output string, status int) {
	t.Helper()
	server := httptest.NewServer(c.api)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, claude, "-p", c.prompt, "--dangerously-skip-permissions")
	cmd.Dir = c.work
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + t.TempDir(),
		"ANTHROPIC_BASE_URL=" + server.URL,
		"ANTHROPIC_API_KEY=sk-ant-test",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
		// Without this, the client refuses to skip permissions as root.
		"IS_SANDBOX=1",
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil && len(exit.Stderr) > 0 {
		t.Logf("standard error: %s", exit.Stderr)
	}
	return strings.TrimSuffix(string(out), "\n"), cmd.ProcessState.ExitCode()
}

// checkRecord checks that the recorded requests include the prompt.
func checkRecord(t *testing.T, api *Server, prompt string) {
	t.Helper()
	for _, r := range api.Requests() {
		if r.Path == "/v1/messages" && r.LastUserText == prompt {
			if got, want := r.Header.Get("X-Api-Key"), "sk-ant-test"; got != want {
				t.Errorf("x-api-key = %q, want %q", got, want)
			}
			return
		}
	}
	t.Errorf("no request with the prompt %q", prompt)
}
