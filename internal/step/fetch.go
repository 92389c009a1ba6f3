package step

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// commandTimeout is how long a command of InjectCommand= may take, for example to ask the user.
const commandTimeout = 2 * time.Minute

// fetchSecrets runs the commands of InjectCommand= of the instance on args[0], and adds what they
// print to the secrets. It does so again if a server has refused a secret.
func fetchSecrets(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	s, err := paths.ReadSecrets(id)
	if err != nil {
		return 0, err
	}
	// The file triggers this unit.
	err = os.Remove(filepath.Join(paths.GatewayDirectory(id), control.RefusedFile))
	refused := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Commands)) {
		if s.Inject[name] != "" && !refused { // systemd starts this unit twice for one start
			continue
		}
		if s.Inject[name], err = runCommand(ctx, s.Commands[name]); err != nil {
			return 0, failure.New(failure.HostUnable, s.Commands[name], "InjectCommand=%s: %w", name, err)
		}
	}
	if err := paths.WriteSecrets(id, s); err != nil || !refused {
		return 0, err
	}
	m, err := manager.DialDirect(ctx, paths.Runtime)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return 0, m.ReloadUnit(ctx, instance.Gateway.Unit(id))
}

// runCommand returns what a shell command prints.
func runCommand(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.WaitDelay = time.Second // for its children
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); err != nil && lines[len(lines)-1] != "" {
		err = fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	secret := strings.TrimSpace(string(out))
	if err == nil && secret == "" {
		err = errors.New("the command prints nothing")
	}
	if err == nil && strings.ContainsAny(secret, "\r\n\x00") {
		err = errors.New("the command prints more than one line")
	}
	return secret, err
}
