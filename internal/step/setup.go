package step

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/claudecode"
	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"golang.org/x/sys/unix"
)

// setup prepares a start of the instance on args[0].
func setup(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	m, err := manager.DialDirect(ctx, paths.Runtime)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	vm, job, err := startJob(ctx, m, id)
	if err != nil {
		return 0, fmt.Errorf("get the job of the VM from the user manager: %w", err)
	}
	// systemd also starts the setup unit a second time for the same start, and when the VM
	// is already running.
	if vm.MainPID != 0 || paths.IsSetUp(id, job) {
		return 0, nil
	}
	if vm.Gone() {
		if err := restartParts(ctx, m, id); err != nil {
			return 0, err
		}
	}
	offered, err := paths.OpenOffer(id)
	if err != nil {
		return 0, err
	}
	defer offered.Close()
	if err := prepare(ctx, m, paths, args[0], job, offered); err != nil {
		return 0, errors.Join(err, offered.Refuse(failure.Of(err)))
	}
	return 0, nil
}

// prepare checks the host and the settings, and creates what the run needs.
func prepare(ctx context.Context, m unitManager, paths instance.Paths, dir, job string, offered instance.Offered) error {
	// The generator sets REFUSAL if a .vm file is invalid: the VM must not start without
	// the restrictions that the file may contain.
	if text := os.Getenv("REFUSAL"); text != "" {
		return failure.New(failure.HostUnable, os.Getenv("REFUSAL_HINT"), "%s", text)
	}
	path, err := workDirectory(paths, dir, os.Getenv("WORK_DIRECTORY"))
	if err != nil {
		return err
	}
	bundle := os.Getenv("GUEST")
	if err := preflight.Host(os.Getenv("QEMU"), os.Getenv("VIRTIOFSD"), bundle); err != nil {
		return err
	}
	id := instance.Escape(dir)
	r := instance.Record{Job: job}
	if r.Settings, err = Settings(ctx, m, id, path); err != nil {
		return err
	}
	if r.Settings.Image != "" {
		if r.Image, err = image.Find(paths.GuestDirectories(), r.Settings.Image); err != nil {
			return err
		}
	}
	p, err := newPlan(ctx, paths, id, path, r.Settings)
	var certificates []byte
	if err == nil {
		certificates, err = addPlan(paths, &r, p)
	}
	if err != nil {
		hint := cmp.Or(failure.HintOf(err), failure.Command("claude-vm-ctl", "edit", path))
		return failure.New(failure.HostUnable, hint, "%w", err)
	}
	kept, err := paths.ReadSecrets(id)
	if err != nil {
		return err
	}
	if r.Request, err = takeRequest(paths, id, job, offered, kept); err != nil {
		return err
	}
	vmEnvironment, err := m.ServiceEnvironment(ctx, instance.VM.Unit(id))
	if err != nil {
		return err
	}
	secrets, err := takeSecrets(&r, environment(vmEnvironment, os.Environ()), decrypter(ctx, paths.Home, p.warn))
	if err != nil {
		return err
	}
	secrets.ExtraCA = certificates
	// If they differ, the overrides are left over from a start that was killed. The runtime
	// unit removes them after this start has failed.
	if os.Getenv("OVERRIDES") != r.Request.Overrides {
		return failure.New(failure.HostUnable, failure.Command("claude-vm-ctl", "start", path), "found overrides of an earlier start, which are now removed")
	}
	if r.Request.AuthSocket = authSocket(r.Settings.ForwardAgent, r.Request.AuthSocket); r.Settings.ForwardAgent && r.Request.AuthSocket == "" {
		p.warn("systemctl --user import-environment SSH_AUTH_SOCK", "ForwardAgent=yes, but there is no SSH agent")
	}
	if r.Settings.UserConfig {
		r.GitConfig, r.GitIgnore = gitConfig(ctx, paths, path, r.Request.AuthSocket != "")
	}
	addVersions(&r, p, bundle)
	for _, text := range p.warnings {
		fmt.Fprintln(os.Stderr, text)
	}
	r.Warnings = p.warnings
	if r.Host, err = confine.ReadHost(paths.Home); err != nil {
		return err
	}
	addSnapshot(ctx, m, paths, id, &r, bundle)
	return makeRun(ctx, m, paths, id, r, secrets)
}

// addPlan adds what is shared to the record, and the settings in files that it names. It returns the
// certificates of ExtraCA=.
func addPlan(paths instance.Paths, r *instance.Record, p *plan) (certificates []byte, err error) {
	r.Shares, r.GitDirectories = p.shares, p.gitDirectories
	if err := checkObeyed(paths, r.Shares); err != nil {
		return nil, err
	}
	if err := outOfReach(guarded(*r), map[string]string{"SettingsFile": r.Settings.SettingsFile, "ExtraCA": r.Settings.ExtraCA}); err != nil {
		return nil, err
	}
	if r.ClaudeSettings, err = readSettings(r.Settings.SettingsFile); err != nil {
		return nil, err
	}
	return readCertificates(r.Settings.ExtraCA)
}

// addVersions adds the versions of the guest in the directory bundle, and of Claude Code.
func addVersions(r *instance.Record, p *plan, bundle string) {
	if env, err := preflight.BundleEnvironment(bundle); err == nil {
		r.GuestVersion, r.ClaudeVersion = env["GUEST_VERSION"], env["GUEST_CLAUDE"]
	}
	if p.claudeVersion == "" {
		return
	}
	if claudecode.Older(p.claudeVersion, r.ClaudeVersion) {
		p.warn("claude-vm-ctl guest update", "Claude Code %s is older than that of the guest, %s", p.claudeVersion, r.ClaudeVersion)
	}
	r.ClaudeVersion = p.claudeVersion
}

// authSocket returns the socket of the SSH agent for the guest: the caller's or, if the
// caller has none, the user manager's. It is empty unless forward is set.
func authSocket(forward bool, asked string) string {
	if !forward {
		return ""
	}
	socket := cmp.Or(asked, os.Getenv("SSH_AUTH_SOCK"))
	if !filepath.IsAbs(socket) {
		return ""
	}
	return socket
}

// workDirectory returns the work directory of an instance. name is the path in the name of
// its units, usually the work directory itself. If that path is too long for the name of a
// unit, it is passed as long, and name is a short link to it, which workDirectory creates.
func workDirectory(paths instance.Paths, name, long string) (string, error) {
	if long != "" && instance.IsShortLink(name, long) {
		if err := instance.MakeShortLink(name, long); err != nil {
			return "", err
		}
	}
	path, err := instance.Resolve(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", failure.New(failure.HostUnable, failure.Command("mkdir", "-p", cmp.Or(long, name)), "%w", failure.Plain(err))
	case err != nil:
		return "", failure.Plain(err)
	}
	if err := paths.Check(path); err != nil {
		return "", err
	}
	if err := unix.Access(path, unix.R_OK|unix.X_OK); err != nil {
		return "", failure.New(failure.HostUnable, failure.Command("ls", "-ld", path), "you cannot read %s: %w", path, err)
	}
	if path != name && !instance.IsShortLink(name, path) {
		return "", failure.New(failure.HostUnable, failure.Command("claude-vm-ctl", "start", path), "%s is or contains a symbolic link; the name of the unit must contain the real path", name)
	}
	return path, nil
}

// maxSettings is the maximum size in bytes of a file that a setting names. It is copied into
// the runtime directory, which is small.
const maxSettings = 1 << 20

// outOfReach returns an error if the file of a key is in one of the directories, in which the
// guest could replace it by a link to a file that it cannot read.
func outOfReach(directories []string, files map[string]string) error {
	for key, path := range files {
		for _, dir := range directories {
			if real := instance.Physical(path); path != "" && (instance.Contains(dir, path) || instance.Contains(dir, real)) {
				return fmt.Errorf("%s=%s: the guest can change this file", key, path)
			}
		}
	}
	return nil
}

// readSettings returns the content of Claude Code's settings file, or nil without a path.
func readSettings(path string) (json.RawMessage, error) {
	text, err := readFile("SettingsFile", path)
	if text == nil || err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	var other *json.UnmarshalTypeError
	err = json.Unmarshal(text, &object)
	switch {
	case errors.As(err, &other):
		return nil, fmt.Errorf("SettingsFile=%s: not a JSON object: %s", path, other.Value)
	case err != nil:
		return nil, fmt.Errorf("SettingsFile=%s: not a JSON object: %w", path, err)
	case object == nil:
		return nil, fmt.Errorf("SettingsFile=%s: not a JSON object: null", path)
	}
	return text, nil
}

// readCertificates returns the content of the file of ExtraCA=, or nil without a path.
func readCertificates(path string) ([]byte, error) {
	text, err := readFile("ExtraCA", path)
	if err == nil && text != nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
		err = fmt.Errorf("ExtraCA=%s: no certificate in PEM format", path)
	}
	return text, err
}

// readFile returns the content of the file that a key names, or nil without a path.
func readFile(key, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	invalid := func(err error) ([]byte, error) { return nil, fmt.Errorf("%s=%s: %w", key, path, withoutPath(err)) }
	// Opening a named pipe would block.
	if info, err := os.Stat(path); err != nil {
		return invalid(err)
	} else if !info.Mode().IsRegular() {
		return invalid(errors.New("not a file"))
	}
	f, err := os.Open(path)
	if err != nil {
		return invalid(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err != nil {
		return invalid(err)
	}
	if len(text) > maxSettings {
		return invalid(errors.New("larger than 1 MiB"))
	}
	return text, nil
}

// takeRequest returns the request of this start. For a restart it is the request of the
// previous run, with the secrets that are not in the record.
func takeRequest(paths instance.Paths, id, job string, offered instance.Offered, secrets instance.Secrets) (instance.Request, error) {
	kept, err := paths.KeptRequest(id, job)
	if err != nil {
		// A VM without the arguments of the request is better than no VM.
		fmt.Fprintf(os.Stderr, "restarting without Claude's arguments of the previous run: %v\n", err)
	}
	if kept != nil {
		if kept.Environment == nil {
			kept.Environment = map[string]string{}
		}
		maps.Copy(kept.Environment, secrets.Requested)
		return *kept, nil
	}
	return offered.Take()
}
