package step

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// This file reads the variables of the units that are more than a word. The
// units list them.

// mountPairs reads MOUNTS=: names and paths by turns. A name becomes that of a
// file.
func mountPairs(text string) ([]contract.Mount, error) {
	words, err := unitfile.Split(text)
	if err != nil {
		return nil, fmt.Errorf("MOUNTS=: %w", err)
	}
	if len(words)%2 != 0 {
		return nil, errors.New("MOUNTS=: a name without a path")
	}
	var mounts []contract.Mount
	for i := 0; i < len(words); i += 2 {
		name := words[i]
		if name == "" || strings.ContainsAny(name, "./") || name == contract.ShareWork || name == contract.ShareHome {
			return nil, fmt.Errorf("MOUNTS=: %q cannot be a name", name)
		}
		mounts = append(mounts, contract.Mount{Name: name, Path: words[i+1]})
	}
	return mounts, nil
}

// applySettings adds to b what the unit's variables say.
func applySettings(b *contract.Begin, getenv func(string) string) error {
	arguments, err := unitfile.Split(getenv("CLAUDE_ARGUMENTS"))
	if err != nil {
		return fmt.Errorf("CLAUDE_ARGUMENTS=: %w", err)
	}
	b.Arguments = append(arguments, b.Arguments...)
	variables, err := unitfile.Split(getenv("CLAUDE_ENVIRONMENT"))
	if err != nil {
		return fmt.Errorf("CLAUDE_ENVIRONMENT=: %w", err)
	}
	for _, word := range variables {
		name, value, found := strings.Cut(word, "=")
		if !found || !vmfile.IsVariable(name) {
			return fmt.Errorf("CLAUDE_ENVIRONMENT=: %q is not NAME=VALUE", word)
		}
		b.Environment[name] = value
	}
	switch text := getenv("CLAUDE_TERMINAL"); text {
	case "", vm.TerminalAuto:
	case vm.TerminalYes, vm.TerminalNo:
		b.Terminal = text == vm.TerminalYes
	default:
		return fmt.Errorf("CLAUDE_TERMINAL=%s: not auto, yes or no", text)
	}
	b.ForwardAgent = getenv("FORWARD_AGENT") == "yes"
	home := getenv("CLAUDE_HOME")
	b.Home = home != "" && home != vm.HomeEphemeral
	if b.Mounts, err = mountPairs(getenv("MOUNTS")); err != nil {
		return err
	}
	for i, m := range b.Mounts {
		b.Mounts[i].Path = filepath.Clean(m.Path)
		if !filepath.IsAbs(m.Path) || b.Mounts[i].Path == "/" {
			return fmt.Errorf("MOUNTS=: %s: not an absolute path of something in the guest", m.Path)
		}
	}
	return nil
}
