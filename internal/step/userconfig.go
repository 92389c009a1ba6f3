package step

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/userconfig"
	"golang.org/x/crypto/ssh"
)

// addUserConfig adds the share with what the user has written for Claude Code, if there is any.
// It is a copy: the files may be links to anywhere, which virtiofsd cannot follow.
func (p *plan) addUserConfig(paths instance.Paths, id string) error {
	dir := paths.ClaudeDirectory(id)
	distrusted, err := p.distrusted(paths)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil || !p.settings.UserConfig {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	shared := distrusted
	for _, s := range p.shares {
		shared = append(shared, s.Path)
	}
	warnings, copied, err := userconfig.Copy(paths.Home, dir, shared)
	if err != nil {
		return fmt.Errorf("copy ~/.claude: %w", err)
	}
	for _, text := range warnings {
		p.warn("", "%s", text)
	}
	if copied {
		p.shares = append(p.shares, instance.Share{Name: contract.ShareClaude, Path: dir})
	}
	return nil
}

// distrusted returns ~/.claude if the guest of this or of an earlier VM can have made links in it: they
// could refer to secrets, which the next guest would get. A file in the state directory remembers this.
func (p *plan) distrusted(paths instance.Paths) ([]string, error) {
	claude, mark := filepath.Join(paths.Home, ".claude"), paths.SharedClaude()
	if slices.ContainsFunc(p.shares, func(s instance.Share) bool { return isChangeable(s) && instance.Overlap(s.Path, claude) }) {
		if err := os.MkdirAll(filepath.Dir(mark), 0o700); err != nil {
			return nil, err
		}
		return []string{claude}, os.WriteFile(mark, nil, 0o600)
	}
	if _, err := os.Stat(mark); err != nil {
		return nil, nil
	}
	return []string{claude}, nil
}

// gitTimeout is much longer than git needs, but the configuration may be on a slow network.
const gitTimeout = 10 * time.Second

// gitConfig returns what the guest's git takes over from the user's configuration, as a
// configuration file: the identity that the user has in the work directory, and with signing
// the user's SSH key; and the content of core.excludesFile. Without git or a configuration, both are
// empty.
func gitConfig(ctx context.Context, paths instance.Paths, dir string, signing bool) (config, ignore string) {
	found, err := userGitConfig(ctx, paths, dir)
	if err != nil {
		fmt.Fprintf(os.Stderr, "git in the VM does not know your name: %v\n", err)
		return "", ""
	}
	pass := []string{"user.name", "user.email", "init.defaultbranch"}
	if key := signingKey(paths.Home, found["user.signingkey"]); signing && found["gpg.format"] == "ssh" && key != "" {
		found["user.signingkey"] = key
		pass = append(pass, "user.signingkey", "gpg.format", "commit.gpgsign", "tag.gpgsign")
	}
	if ignore = gitIgnore(paths, found["core.excludesfile"]); ignore != "" {
		found["core.excludesfile"] = contract.GitIgnoreFile
		pass = append(pass, "core.excludesfile")
	}
	var b strings.Builder
	for _, key := range pass {
		if value := found[key]; value != "" {
			section, name, _ := strings.Cut(key, ".")
			fmt.Fprintf(&b, "[%s]\n\t%s = \"%s\"\n", section, name, gitQuoting.Replace(value))
		}
	}
	return b.String(), ignore
}

// gitQuoting escapes a value in quotes; see CONFIGURATION FILE in git-config(1).
var gitQuoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`)

// userGitConfig returns the user's configuration as it is for the repository in dir, with
// conditional includes, but without the repository's own, which the guest sees. It has the last
// of several values. The repository may be the guest's work: "git config" runs none of it.
func userGitConfig(ctx context.Context, paths instance.Paths, dir string) (map[string]string, error) {
	program := findProgram(paths, "git")
	if program == "" {
		return map[string]string{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-C", dir, "config", "--show-scope", "--null",
		"--get-regexp", `^(user\.(name|email|signingkey)|gpg\.format|(commit|tag)\.gpgsign|init\.defaultbranch|core\.excludesfile)$`)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 1 && len(out) == 0 {
		return map[string]string{}, nil // no value
	}
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return nil, fmt.Errorf("git config: %s", cmp.Or(first, err.Error()))
	}
	return parseGitConfig(string(out)), nil
}

// parseGitConfig parses the output of "git config --show-scope --null": scope, NUL, key,
// newline, value, NUL.
func parseGitConfig(text string) map[string]string {
	found := map[string]string{}
	fields := strings.Split(text, "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		key, value, assigned := strings.Cut(fields[i+1], "\n")
		if scope := fields[i]; scope == "local" || scope == "worktree" {
			continue
		}
		if !assigned { // "gpgsign" alone is true
			value = "true"
		}
		found[key] = value
	}
	return found
}

// signingKey returns the value of user.signingkey with the key itself in place of its file;
// empty if that is not a public key or has none.
func signingKey(home, value string) string {
	texts := []string{strings.TrimPrefix(value, "key::")}
	if path, found := strings.CutPrefix(value, "~/"); found {
		value = filepath.Join(home, path)
	}
	if filepath.IsAbs(value) {
		texts = nil
		for _, path := range []string{value, value + ".pub"} {
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > 64<<10 {
				continue
			}
			text, _ := os.ReadFile(path)
			texts = append(texts, string(text))
		}
	}
	for _, text := range texts {
		// What is not a public key, such as a private one, is an error.
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err == nil {
			return "key::" + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		}
	}
	return ""
}

// findProgram returns the path of a program; empty if it is missing. The PATH of a user manager
// does not have all directories of Nix.
func findProgram(paths instance.Paths, name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/run/current-system/sw/bin", "/etc/profiles/per-user/" + paths.User + "/bin", paths.Home + "/.nix-profile/bin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}
