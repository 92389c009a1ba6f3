package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// home is Claude's home directory. It may be kept, and can then be anything: files that are not
// JSON, links into dotfiles, a full or read-only file system. Claude Code starts in any case.
type home struct {
	dir      string
	warnings strings.Builder // for Claude's standard error
}

func (h *home) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	log.Print(text)
	fmt.Fprintf(&h.warnings, "claude-vm: warning: %s\n", text)
}

// Files of the home, which Claude Code writes, too.
const (
	settingsFile = ".claude/settings.json"
	stateFile    = ".claude.json"
)

// prepare writes the files that Claude Code and other programs of the session expect. It must
// run as the user. settings are those of the host, or empty, and env returns the variables of
// Claude Code.
func (h *home) prepare(work string, settings []byte, env func(string) string) {
	h.linkUserConfig(userConfigDir)
	// By default, pnpm puts its store into the top directory of the share, which is a file system
	// of its own, and git on the host would see it there. Older versions of pnpm read rc.
	h.create(".config/pnpm/rc", "store-dir=node_modules/.pnpm-store\n")
	h.create(".config/pnpm/config.yaml", "storeDir: node_modules/.pnpm-store\n")
	if len(settings) > 0 {
		h.replace(settingsFile, append(settings, '\n'))
	}
	// These settings answer questions that Claude Code would ask and that make no sense in a VM
	// for this directory, or that passing a credential has answered.
	h.merge(settingsFile, object{"skipDangerousModePermissionPrompt": true})
	h.merge(stateFile, state(work, env))
}

// object is a JSON object.
type object = map[string]any

// state returns what to add to stateFile.
func state(work string, env func(string) string) object {
	o := object{"projects": object{work: object{"hasTrustDialogAccepted": true}}}
	key := env("ANTHROPIC_API_KEY")
	if key != "" || env("CLAUDE_CODE_OAUTH_TOKEN") != "" || env("ANTHROPIC_AUTH_TOKEN") != "" {
		o["hasCompletedOnboarding"] = true
	}
	if key != "" {
		// Claude Code stores the last 20 characters of an API key that the user has approved.
		last := []rune(key)
		last = last[max(0, len(last)-20):]
		o["customApiKeyResponses"] = object{"approved": []string{string(last)}}
	}
	return o
}

// linkUserConfig links what the host's user has written for Claude Code, in the directory user,
// into the home. What the home has of its own stays, and links of an earlier start go.
func (h *home) linkUserConfig(user string) {
	for _, name := range []string{"CLAUDE.md", "agents", "commands", "output-styles", "skills"} {
		path := filepath.Join(h.dir, ".claude", name)
		paths := []string{path}
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			below, _ := firstNames(path)
			for _, name := range below {
				paths = append(paths, filepath.Join(path, name))
			}
		}
		for _, path := range paths {
			if target, err := os.Readlink(path); err == nil && strings.HasPrefix(target, user+"/") {
				os.Remove(path)
			}
		}
	}
	sources, _ := filepath.Glob(user + "/[^.]*/[^.]*")
	for _, source := range append(sources, user+"/CLAUDE.md") {
		if _, err := os.Stat(source); err != nil {
			continue
		}
		link := filepath.Join(h.dir, ".claude", strings.TrimPrefix(source, user))
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(source, link)); err != nil {
			h.warn("cannot write %s", link)
		}
	}
}

// create creates a file that is not important, unless it exists.
func (h *home) create(name, text string) {
	path := filepath.Join(h.dir, name)
	if _, err := os.Stat(path); err == nil || os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	os.WriteFile(path, []byte(text), 0o644)
}

// replace replaces a file or, if it is a link, what that points to. The new text appears at once,
// because another VM may have the same home.
func (h *home) replace(name string, text []byte) {
	path := filepath.Join(h.dir, name)
	if err := replaceAtOnce(followLinks(path), text); err != nil {
		h.warn("cannot write %s", path)
	}
}

func replaceAtOnce(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// followLinks returns what a path points to, which need not exist.
func followLinks(path string) string {
	for range 40 { // like Linux
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				break
			}
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return path
}

// merge adds settings to a JSON file; those that it has take precedence. Like Claude Code, it
// moves an invalid file away.
func (h *home) merge(name string, settings object) {
	path := filepath.Join(h.dir, name)
	var old []byte
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		var changed bool
		if old, err = os.ReadFile(path); err == nil {
			old, changed, err = mergeJSON(bytes.TrimPrefix(old, []byte("\xef\xbb\xbf")), settings)
		}
		if err == nil {
			if changed {
				h.replace(name, old)
			}
			return
		}
		aside := fmt.Sprintf("%s.invalid.%d", path, time.Now().Unix())
		if err := os.Rename(path, aside); err != nil {
			h.warn("%s is not a JSON object, and cannot be moved", path)
			return
		}
		h.warn("%s is not a JSON object: moved to %s", path, aside)
	}
	if text, _, err := mergeJSON([]byte("{}"), settings); err == nil {
		h.replace(name, text)
	}
}

// mergeJSON adds settings to a JSON object and reports whether any was missing. What the object
// has is kept byte by byte, for example large numbers.
func mergeJSON(text []byte, settings object) (merged []byte, changed bool, err error) {
	var own map[string]json.RawMessage
	if err := json.Unmarshal(text, &own); err != nil || own == nil {
		return nil, false, errors.Join(err, fs.ErrInvalid)
	}
	for name, value := range settings {
		nested, isObject := value.(object)
		theirs, found := own[name]
		switch {
		case !found:
			changed = true
			if own[name], err = json.Marshal(value); err != nil {
				return nil, false, err
			}
		case isObject:
			// An error means that it is no object, and takes precedence.
			if below, nestedChanged, err := mergeJSON(theirs, nested); err == nil && nestedChanged {
				own[name], changed = below, true
			}
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(own)
	return out.Bytes(), changed, err
}
