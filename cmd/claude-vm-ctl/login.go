package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/credstore"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

type loginVerb struct{ withToken, status, json bool }

func (l *loginVerb) register(app *kingpin.Application) string {
	cmd := app.Command("login", "Sign in to Claude once for all VMs. The token stays on this machine, encrypted.")
	describe(cmd, "", "login", "login --with-token <token", "login --status")
	cmd.Flag("with-token", "Read a token or an API key from standard input.").BoolVar(&l.withToken)
	cmd.Flag("status", "Show what is stored, but not the token.").BoolVar(&l.status)
	cmd.Flag("json", "With --status: print JSON, for scripts.").BoolVar(&l.json)
	return cmd.FullCommand()
}

func (l *loginVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	store := credstore.New(paths.Home)
	switch {
	case l.status && l.withToken:
		return 0, failure.New(failure.Usage, "claude-vm-ctl login --status", "--status and --with-token exclude each other")
	case l.json && !l.status:
		return 0, failure.New(failure.Usage, "claude-vm-ctl login --status --json", "--json needs --status")
	case l.status:
		return l.show(out, store)
	}
	var secret string
	if l.withToken {
		secret, err = readToken(out)
	} else {
		secret, err = setupToken(ctx, out, paths)
	}
	if err != nil {
		return 0, err
	}
	name, err := credstore.NameOf(secret)
	if err != nil {
		return 0, failure.New(failure.Usage, "claude-vm-ctl login", "%w", err)
	}
	before := store.List()
	e, plain, err := store.Save(ctx, name, secret)
	if err != nil {
		return 0, err
	}
	if plain != nil {
		out.warning(fmt.Sprintf("the %s is not encrypted: %v", e.Kind, plain))
	}
	for _, old := range before {
		if old.Path != e.Path {
			out.note("removed the previous login, %s", old.Path)
		}
	}
	_, err = fmt.Fprintf(out.stdout, "%s\n", describeLogin(e))
	return 0, err
}

// describeLogin describes a stored login on one line, without the secret.
func describeLogin(e credstore.Entry) string {
	kind, how := "login token", "encrypted"
	if e.Kind == "key" {
		kind = "API key"
	}
	if e.Name == credstore.AuthToken {
		kind = "token of a gateway"
	}
	if !e.Encrypted {
		how = "not encrypted"
	}
	return fmt.Sprintf("%s, %s, in %s", kind, how, e.Path)
}

// show prints what is stored. As with "gh auth status", the exit status is 1 if that is nothing.
func (l *loginVerb) show(out *output, store credstore.Store) (int, error) {
	found := store.List()
	status := 0
	if len(found) == 0 {
		status = failure.Failed
	}
	if l.json {
		return status, json.NewEncoder(out.stdout).Encode(found)
	}
	if len(found) == 0 {
		return 0, failure.New(failure.Failed, "claude-vm-ctl login", "no login is stored")
	}
	for _, e := range found {
		if _, err := fmt.Fprintln(out.stdout, describeLogin(e)); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// readToken reads a token from standard input.
func readToken(out *output) (string, error) {
	const enough = 64 << 10
	text, err := io.ReadAll(io.LimitReader(out.stdin, enough))
	return strings.TrimSpace(string(text)), err
}

// loginOptions restrict the VM of a login, whatever defaults.conf has. Environment= and Mount=
// stay: a proxy and its certificates are needed for a login, too.
func loginOptions() (o options) {
	for _, set := range []string{
		"Mode=allow", "Allow=", "Allow=@anthropic", "PublishPort=", "Ask=no", "Home=ephemeral", "Terminal=yes", "SettingsFile=", "Arguments=",
		"SkipPermissions=no", "ForwardAgent=no", "UserConfig=no",
		"Clipboard=yes", // setup-token can copy the URL to sign in
	} {
		key, value, _ := strings.Cut(set, "=")
		o = append(o, vmfile.Option{Flag: "--set", Key: key, Value: value})
	}
	return o
}

// setupToken runs "claude setup-token" on the caller's terminal, in a VM that sees an empty
// directory and has the network of Claude's services only, and returns the token that it
// prints.
func setupToken(ctx context.Context, out *output, paths instance.Paths) (string, error) {
	if !out.terminal() {
		return "", failure.New(failure.Usage, "claude-vm-ctl login --with-token <FILE", "without --with-token, login needs a terminal")
	}
	// Not in the state directory, which systemd can make a link to the one with the .vm files.
	dir := filepath.Join(paths.Cache, "claude-vm/login")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	v, u, err := open(ctx, dir)
	if err != nil {
		return "", err
	}
	defer v.manager.Close()
	if u.Running() {
		return "", failure.New(failure.Failed, "claude-vm-ctl attach"+v.hintArg(), "another login is in progress")
	}
	defer os.RemoveAll(dir)
	if err := v.ensureUnits(ctx, out, u); err != nil {
		return "", err
	}
	o, err := v.overridesOf(ctx, loginOptions())
	if err != nil {
		return "", err
	}
	request, err := newRequest(out, "login", []string{"setup-token"})
	if err != nil {
		return "", err
	}
	request.Attached = true
	if err := v.start(ctx, out, request, o); err != nil {
		return "", err
	}
	defer v.stopLogin(ctx)
	var screen bytes.Buffer
	out.transcript = &screen
	status, err := v.session(ctx, out, true)
	if err != nil {
		return "", err
	}
	token := findToken(screen.Bytes())
	if token == "" {
		return "", failure.New(failure.Failed, "claude-vm-ctl login", "claude setup-token printed no token; its exit status was %d", status)
	}
	return token, nil
}

// stopLogin stops the VM of a login and waits, also if the user has detached from it.
func (v *target) stopLogin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	v.manager.Stop(ctx, v.unit()) // nothing is lost if it fails
}

var (
	// escapes are the sequences of ECMA-48 that move the cursor and set colours, those with
	// a text, such as a title, and those of two or three characters.
	escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|[\\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\\\)|[ -/]*[0-Z\\\\^-~])")
	start   = regexp.MustCompile(`sk-ant-oat[0-9]{2}-[A-Za-z0-9_-]*$`)
	more    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// minToken is less than the length of any token; those of 2026 have 108 characters.
const minToken = 40

// findToken returns the last token in what a program has written to a terminal; empty if there
// is none. A token that is longer than the line is on several lines, which have nothing else.
func findToken(screen []byte) string {
	text := strings.ReplaceAll(string(escapes.ReplaceAll(screen, nil)), "\r", "")
	found, token := "", ""
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if begin := start.FindString(line); begin != "" {
			token = begin
		} else if token != "" && more.MatchString(line) {
			token += line
		} else {
			token = ""
		}
		if len(token) >= minToken {
			found = token
		}
	}
	return found
}

type logoutVerb struct{}

func (l *logoutVerb) register(app *kingpin.Application) string {
	cmd := app.Command("logout", "Remove the login that VMs use.")
	describe(cmd, "", "logout")
	return cmd.FullCommand()
}

func (l *logoutVerb) run(_ context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	removed, err := credstore.New(paths.Home).Remove()
	for _, e := range removed {
		if _, err := os.Lstat(e.Path); errors.Is(err, os.ErrNotExist) {
			out.note("removed %s; VMs that run keep it until they stop", e.Path)
		}
	}
	if err == nil && len(removed) == 0 {
		out.note("no login is stored")
	}
	return 0, err
}

// checkLogin is a check of doctor.
func checkLogin(_ context.Context, h *host) (string, error) {
	if h.filesErr != nil {
		return "", h.filesErr
	}
	if found := credstore.New(h.paths.Home).List(); len(found) > 0 {
		return describeLogin(found[0]), nil
	}
	for _, name := range credstore.Names {
		if os.Getenv(name) != "" {
			return name + " of the environment", nil
		}
	}
	return "", preflight.Warn("claude-vm-ctl login", "no login is stored")
}

// noteLogin prints a note if Claude Code in the VM that has just started will ask for a login.
func (v *target) noteLogin(out *output, r instance.Record) {
	if !r.LoggedOut {
		return
	}
	if home, err := v.paths.HomeDirectory(v.id, r.Settings.Home); err == nil {
		if _, err := os.Stat(filepath.Join(home, ".claude/.credentials.json")); err == nil {
			return // of Claude Code's own /login
		}
	}
	out.note("no login is stored for VMs; to sign in once for all: claude-vm-ctl login")
}
