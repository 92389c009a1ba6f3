package step

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// TestTakeSecrets checks where secrets are taken from, in order of priority, that they are
// nowhere in the record afterwards, and what the guest gets instead.
func TestTakeSecrets(t *testing.T) {
	const key, api = "ANTHROPIC_API_KEY", "https://user:password@proxy.test"
	files := t.TempDir()
	for name, text := range map[string]string{key: "of-file\n", "GH": "of-gh\n", "CLAUDE_CODE_OAUTH_TOKEN": "\n"} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", files)
	for name, c := range map[string]struct {
		others, request     map[string]string
		encrypted           map[string]string
		environment, inject []string
		mode                string
		want                instance.Secrets
		guest               map[string]string
	}{
		"file": {
			inject: []string{key}, mode: "internet",
			want:  instance.Secrets{Inject: map[string]string{key: "of-file"}, API: vm.StandardAPI},
			guest: map[string]string{key: vm.Placeholder(key), baseURL: gatewayURL},
		},
		"user manager": {
			others: map[string]string{key: "of-manager", "ANTHROPIC_MODEL": "m"}, inject: []string{key}, mode: "internet",
			want:  instance.Secrets{Inject: map[string]string{key: "of-manager"}, API: vm.StandardAPI},
			guest: map[string]string{key: vm.Placeholder(key), baseURL: gatewayURL, "ANTHROPIC_MODEL": "m"},
		},
		"request": {
			others: map[string]string{key: "of-manager"}, request: map[string]string{key: "of-request", baseURL: api, "TERM": "x"}, inject: []string{key}, mode: "allow",
			want: instance.Secrets{
				Inject: map[string]string{key: "of-request"}, API: api, Requested: map[string]string{key: "of-request", baseURL: api},
			},
			guest: map[string]string{key: vm.Placeholder(key), baseURL: gatewayURL, "TERM": "x"},
		},
		"Environment=": {
			request: map[string]string{key: "of-request"}, environment: []string{key + "=of-settings", baseURL + "=" + api, "A=1"}, inject: []string{key}, mode: "internet",
			want:  instance.Secrets{Inject: map[string]string{key: "of-settings"}, API: api, Requested: map[string]string{key: "of-request"}},
			guest: map[string]string{key: vm.Placeholder(key), baseURL: gatewayURL, "A": "1"},
		},
		"encrypted": {
			inject: []string{"CLAUDE_CODE_OAUTH_TOKEN"}, mode: "internet", encrypted: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": "of-login"},
			want:  instance.Secrets{Inject: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": "of-login"}, API: vm.StandardAPI},
			guest: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": vm.Placeholder("CLAUDE_CODE_OAUTH_TOKEN"), baseURL: gatewayURL},
		},
		"one source for Claude": {
			request: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": "of-request"}, inject: []string{key, "CLAUDE_CODE_OAUTH_TOKEN"}, mode: "internet",
			encrypted: map[string]string{key: "of-login"},
			want: instance.Secrets{
				Inject: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": "of-request"}, API: vm.StandardAPI, Requested: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": "of-request"},
			},
			guest: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": vm.Placeholder("CLAUDE_CODE_OAUTH_TOKEN"), baseURL: gatewayURL},
		},
		"no network": {
			inject: []string{key}, mode: "none",
			want:  instance.Secrets{Inject: map[string]string{key: "of-file"}, API: vm.StandardAPI},
			guest: map[string]string{key: vm.Placeholder(key)},
		},
		"another host": {
			request: map[string]string{"GH": "of-request"}, inject: []string{"GH:git.test:basic", "CLAUDE_CODE_OAUTH_TOKEN"}, mode: "internet",
			want: instance.Secrets{Inject: map[string]string{"GH": "of-request"}, Requested: map[string]string{"GH": "of-request"}},
			guest: map[string]string{
				"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "url." + gatewayURL + "/host/git.test/.insteadOf", "GIT_CONFIG_VALUE_0": "https://git.test/",
			},
		},
		"nothing stays on the host": {
			request: map[string]string{key: "of-request", baseURL: api}, mode: "internet",
			guest: map[string]string{key: "of-request", baseURL: api},
		},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]string{"NETWORK_MODE": c.mode, "NETWORK": "a card", "INJECT": strings.Join(c.inject, " ")}
			if c.mode == policy.None {
				settings["NETWORK"] = ""
			}
			r := instance.Record{Request: instance.Request{Session: contract.Session{Environment: c.request}}}
			var err error
			if r.Settings, err = vmfile.Applied(func(name string) string { return settings[name] }, "/w"); err != nil {
				t.Fatal(err)
			}
			r.Settings.Environment = c.environment
			others := maps.Clone(c.others)
			for _, m := range []*map[string]string{&others, &c.want.Inject, &c.want.Requested} {
				if *m == nil {
					*m = map[string]string{}
				}
			}
			got, err := takeSecrets(&r, others, func(name string) string { return c.encrypted[name] })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("secrets mismatch (-want +got):\n%s", diff)
			}
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.inject) > 0 && regexp.MustCompile("of-|password").Match(text) {
				t.Errorf("the record has a secret: %s", text)
			}
			b := contract.Begin{Session: contract.Session{Environment: maps.Clone(r.Environment)}}
			applySettings(&b, r.Settings)
			applyPlaceholders(&b, r)
			if diff := cmp.Diff(c.guest, b.Environment); diff != "" {
				t.Errorf("environment of the guest mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMissingSecret checks that no VM starts without a secret for another host than the API's.
func TestMissingSecret(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
	r := instance.Record{Settings: vm.VM{Inject: []vm.Injection{{Name: "GH", Host: "git.test", Scheme: vm.SchemeBasic}}}}
	none := func(string) string { return "" }
	if _, err := takeSecrets(&r, map[string]string{}, none); err == nil || err.Error() != "Inject=GH:git.test:basic: there is no secret GH" {
		t.Errorf("without a secret: %v", err)
	}
	s, err := takeSecrets(&r, map[string]string{}, func(name string) string { return "encrypted " + name })
	if err != nil || s.Inject["GH"] != "encrypted GH" {
		t.Errorf("with an encrypted one: %v, %v", s.Inject, err)
	}
}

// TestLoggedOut checks when a user is told that Claude will ask for a login.
func TestLoggedOut(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
	all := vm.Default().Inject
	for name, c := range map[string]struct {
		inject   []vm.Injection
		others   map[string]string
		settings string
		want     bool
	}{
		"nothing":              {inject: all, want: true},
		"a token":              {inject: all, others: map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": "x"}},
		"a token in the guest": {inject: all[:2]},
		"another cloud":        {inject: all, others: map[string]string{"CLAUDE_CODE_USE_BEDROCK": "1"}},
		"a program":            {inject: all, settings: `{"apiKeyHelper": "x"}`},
		"other settings":       {inject: all, settings: `{"model": "x"}`, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			others := maps.Clone(c.others)
			if others == nil {
				others = map[string]string{}
			}
			r := instance.Record{Settings: vm.VM{Inject: c.inject}, ClaudeSettings: json.RawMessage(c.settings)}
			if _, err := takeSecrets(&r, others, func(string) string { return "" }); err != nil || r.LoggedOut != c.want {
				t.Errorf("LoggedOut = %v, %v", r.LoggedOut, err)
			}
		})
	}
}
