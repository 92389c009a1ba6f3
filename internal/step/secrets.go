package step

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/credstore"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

const (
	// baseURL is the variable with the URL of the API of Claude Code.
	baseURL = "ANTHROPIC_BASE_URL"
	// gatewayURL is the URL of the gateway in the guest.
	gatewayURL = "http://" + contract.GatewayName
)

// environment returns the variables of Claude's environment that do not come from a request:
// those of the VM's unit, and those of the user manager.
func environment(unit map[string]string, manager []string) map[string]string {
	found := map[string]string{}
	for _, entry := range manager {
		name, value, _ := strings.Cut(entry, "=")
		found[name] = value
	}
	maps.Copy(found, unit)
	maps.DeleteFunc(found, func(name, value string) bool { return !instance.IsPassed(name, value) || name == "TERM" })
	return found
}

// takeSecrets sets the environment of a record: the variables of the request and else those in
// others. It removes the secrets that stay on the host from the record, and returns them.
// encrypted returns a secret of the user's encrypted credentials.
func takeSecrets(r *instance.Record, others map[string]string, encrypted func(name string) string) (instance.Secrets, error) {
	r.Environment = others
	maps.Copy(r.Environment, r.Request.Environment)
	s := instance.Secrets{Inject: map[string]string{}, Requested: map[string]string{}}
	files, err := credentials()
	if err != nil {
		return s, err
	}
	// Environment= has priority; see applySettings.
	configured := func(name string) string {
		for _, variable := range r.Settings.Environment {
			if value, found := strings.CutPrefix(variable, name+"="); found {
				return value
			}
		}
		return ""
	}
	given := func(name string) string { return cmp.Or(configured(name), r.Environment[name]) }
	values := injected(r.Settings.Inject, given, func(name string) string { return files[name] }, encrypted)
	forClaude := false
	s.Commands = commands(r.Settings)
	for _, i := range r.Settings.Inject {
		value := values[i]
		if s.Commands[i.Name] != "" {
			value = ""
		}
		switch {
		case s.Commands[i.Name] != "": // claude-vm-secrets@ runs it
		case value == "" && i.Host != "":
			return s, failure.New(failure.HostUnable, "systemd-ask-password | install -Dm600 /dev/stdin ~/.config/credstore/"+i.Name, "Inject=%s: there is no secret %s", i, i.Name)
		case value == "":
			continue
		}
		if value != "" {
			s.Inject[i.Name] = value
		}
		if !slices.Contains(r.Injected, i.Name) {
			r.Injected = append(r.Injected, i.Name)
		}
		forClaude = forClaude || i.Host == ""
	}
	if forClaude {
		s.API = cmp.Or(configured(baseURL), r.Environment[baseURL], vm.StandardAPI)
	}
	r.LoggedOut = !forClaude && loggedOut(r, given)
	s.Proxy, r.Settings.Proxy = r.Settings.Proxy, ""
	hidden := slices.Clone(r.Injected)
	if forClaude {
		hidden = append(hidden, baseURL) // it may contain a password
	}
	for _, name := range hidden {
		if value := r.Request.Environment[name]; value != "" {
			s.Requested[name] = value
		}
		delete(r.Request.Environment, name)
		delete(r.Environment, name)
		r.Settings.Environment = slices.DeleteFunc(r.Settings.Environment, func(variable string) bool { return strings.HasPrefix(variable, name+"=") })
	}
	return s, nil
}

// commands returns the commands for secrets that are injected, by name.
func commands(settings vm.VM) map[string]string {
	var found map[string]string
	for _, text := range settings.Commands {
		name, command, _ := strings.Cut(text, "=")
		if !slices.ContainsFunc(settings.Inject, func(i vm.Injection) bool { return i.Name == name }) {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[name] = command
	}
	return found
}

// injected returns the values of secrets, from the first source that has them. The secrets of
// Claude Code, of which it uses one, all come from the same source.
func injected(list []vm.Injection, sources ...func(name string) string) map[vm.Injection]string {
	values := map[vm.Injection]string{}
	forClaude := false
	for _, source := range sources {
		found := false
		for _, i := range list {
			if values[i] != "" || i.Host == "" && forClaude {
				continue
			}
			values[i] = source(i.Name)
			found = found || i.Host == "" && values[i] != ""
		}
		forClaude = forClaude || found
	}
	return values
}

// loggedOut reports whether Claude Code has no secret that it gets otherwise than by the
// gateway. given returns a variable of its environment.
func loggedOut(r *instance.Record, given func(name string) string) bool {
	for _, name := range append([]string{"CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"}, credstore.Names...) {
		if given(name) != "" {
			return false
		}
	}
	// With :guest, the VM's unit loads it; that is not known here.
	for _, name := range credstore.Names {
		if !slices.ContainsFunc(r.Settings.Inject, func(i vm.Injection) bool { return i.Name == name && i.Host == "" }) {
			return false
		}
	}
	return !bytes.Contains(r.ClaudeSettings, []byte(`"apiKeyHelper"`))
}

// decrypter returns a function that decrypts a secret of the user. It warns if it cannot: Claude
// then asks for a login.
func decrypter(ctx context.Context, home string, warn func(fix, format string, args ...any)) func(name string) string {
	return func(name string) string {
		secret, err := credstore.New(home).Decrypt(ctx, name)
		if err != nil {
			warn("claude-vm-ctl login", "%v", err)
		}
		return secret
	}
}

// applyPlaceholders adds what the guest has in place of the secrets that stay on the host:
// placeholders for Claude Code and, for git, the URL at which the gateway adds the secret.
func applyPlaceholders(b *contract.Begin, r instance.Record) {
	count := 0
	for _, i := range r.Settings.Inject {
		if !slices.Contains(r.Injected, i.Name) {
			continue
		}
		online := r.Settings.Network != policy.None
		switch {
		case i.Host == "":
			b.Environment[i.Name] = vm.Placeholder(i.Name)
			if online {
				b.Environment[baseURL] = gatewayURL
			}
		case online && b.Environment["GIT_CONFIG_COUNT"] == "":
			b.Environment[fmt.Sprint("GIT_CONFIG_KEY_", count)] = "url." + gatewayURL + "/host/" + i.Host + "/.insteadOf"
			b.Environment[fmt.Sprint("GIT_CONFIG_VALUE_", count)] = "https://" + i.Host + "/"
			count++
		}
	}
	if count > 0 {
		b.Environment["GIT_CONFIG_COUNT"] = fmt.Sprint(count)
	}
}

// credentials returns the unit's credentials whose names are valid names of environment
// variables.
func credentials() (map[string]string, error) {
	found := map[string]string{}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return found, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !vmfile.IsVariable(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		if value := strings.TrimSpace(string(text)); value != "" {
			found[entry.Name()] = value
		}
	}
	return found, nil
}
