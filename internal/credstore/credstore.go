// Package credstore keeps the login of Claude Code: one token or key of the user, in the
// user's credential stores. Secrets are encrypted by systemd-creds(1), which the system's
// service decrypts for this user only. Where that service is missing, they are private files.
package credstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Names of the variables of Claude Code with a secret.
const (
	Token     = "CLAUDE_CODE_OAUTH_TOKEN"
	Key       = "ANTHROPIC_API_KEY"
	AuthToken = "ANTHROPIC_AUTH_TOKEN"
)

// Names lists them.
var Names = []string{Key, AuthToken, Token}

// Store is the directory with the credential stores.
type Store struct{ dir string }

// New returns the store of the user with this home directory. Units, which load plain files,
// use the same directory whatever $XDG_CONFIG_HOME is.
func New(home string) Store { return Store{filepath.Join(home, ".config")} }

// Entry is a stored secret.
type Entry struct {
	Name      string `json:"name"` // of the variable
	Kind      string `json:"kind"` // token or key
	Path      string `json:"path"`
	Encrypted bool   `json:"encrypted"`
}

// NameOf returns the variable for a token or key, by its form.
func NameOf(secret string) (string, error) {
	switch {
	case secret == "":
		return "", errors.New("the token is empty")
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", errors.New("not a token: it contains spaces, or is more than one line")
	case strings.HasPrefix(secret, "sk-ant-oat"):
		return Token, nil
	case strings.HasPrefix(secret, "sk-ant-api"):
		return Key, nil
	}
	return "", errors.New("not a token of Claude Code, which starts with sk-ant-oat, and not an API key, which starts with sk-ant-api")
}

func (s Store) path(name string, encrypted bool) string {
	if encrypted {
		return filepath.Join(s.dir, "credstore.encrypted", name)
	}
	return filepath.Join(s.dir, "credstore", name)
}

// List returns what is stored for Claude Code.
func (s Store) List() []Entry {
	found := []Entry{}
	for _, encrypted := range []bool{true, false} {
		for _, name := range Names {
			path := s.path(name, encrypted)
			info, err := os.Stat(path)
			if err != nil || info.Size() == 0 {
				continue
			}
			kind := "token"
			if name == Key {
				kind = "key"
			}
			found = append(found, Entry{name, kind, path, encrypted})
		}
	}
	return found
}

// Save stores a secret, and removes all others of Claude Code: with two of them, Claude Code
// would choose. plain is the reason why it is not encrypted, if it is not.
func (s Store) Save(ctx context.Context, name, secret string) (e Entry, plain, err error) {
	text, plain := encrypt(ctx, name, secret)
	if plain != nil {
		text = []byte(secret + "\n")
	}
	path := s.path(name, plain == nil)
	if err := writePrivate(path, text); err != nil {
		return e, plain, err
	}
	for _, old := range s.List() {
		if old.Path == path {
			e = old
		} else {
			err = errors.Join(err, os.Remove(old.Path))
		}
	}
	return e, plain, err
}

// writePrivate replaces a file by a private one.
func writePrivate(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := cmp.Or(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Remove removes what List returns, and returns it.
func (s Store) Remove() ([]Entry, error) {
	all := s.List()
	var err error
	for _, e := range all {
		err = errors.Join(err, os.Remove(e.Path))
	}
	return all, err
}

// Decrypt returns a secret of the encrypted store, of any name; empty if there is none.
func (s Store) Decrypt(ctx context.Context, name string) (string, error) {
	path := s.path(name, true)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	text, err := systemdCreds(ctx, nil, "decrypt", "--name="+name, path, "-")
	if err != nil {
		return "", fmt.Errorf("decrypt %s: %w", path, err)
	}
	return strings.TrimSpace(string(text)), nil
}

func encrypt(ctx context.Context, name, secret string) ([]byte, error) {
	return systemdCreds(ctx, strings.NewReader(secret), "encrypt", "--name="+name, "-", "-")
}

// timeout is enough for a TPM, which is slow, on a busy machine.
const timeout = 30 * time.Second

// systemdCreds runs systemd-creds(1). The secret is never one of its arguments.
func systemdCreds(ctx context.Context, stdin *strings.Reader, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(), append([]string{"--user"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if stdin != nil {
		cmd.Stdin = stdin
	}
	out, err := cmd.Output()
	switch text := strings.TrimSpace(stderr.String()); {
	case err == nil && len(bytes.TrimSpace(out)) == 0:
		return nil, errors.New("systemd-creds returned nothing")
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return nil, errors.New("systemd-creds is not installed")
	case strings.Contains(text, "unrecognized option"):
		return nil, errors.New("systemd-creds --user needs systemd 256")
	case err != nil && text != "":
		lines := strings.Split(text, "\n")
		return nil, errors.New(lines[len(lines)-1])
	}
	return out, err
}

// program returns the path of systemd-creds. The PATH of a user manager does not have it on
// NixOS.
func program() string {
	const name, onNixOS = "systemd-creds", "/run/current-system/sw/bin/systemd-creds"
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return onNixOS
}
