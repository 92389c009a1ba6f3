package vmfile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/hide"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// invalid returns the error of a value, with a hint.
func invalid(hint, format string, args ...any) error {
	return failure.New(failure.Usage, hint, format, args...)
}

// choose sets target to value, which must be one of choices.
func choose(target *string, value string, choices ...string) error {
	if !slices.Contains(choices, value) {
		return fmt.Errorf("not one of %s", strings.Join(choices, ", "))
	}
	*target = value
	return nil
}

// addInsecure adds the settings of a word like A,B.
func addInsecure(v *vm.VM, value string) error {
	for setting := range strings.SplitSeq(value, ",") {
		if !slices.Contains(confine.Settings, setting) {
			return fmt.Errorf("%q is not one of %s", abridged(setting), strings.Join(confine.Settings, ", "))
		}
		if !slices.Contains(v.Insecure, setting) {
			v.Insecure = append(v.Insecure, setting)
		}
	}
	return nil
}

// boolean parses a boolean as systemd does.
func boolean(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, errors.New("not yes or no")
}

func setTerminal(v *vm.VM, value string) error {
	if yes, err := boolean(value); err == nil {
		value = map[bool]string{true: "yes", false: "no"}[yes]
	}
	return choose(&v.Terminal, value, "auto", "yes", "no")
}

// maxCPUs is the maximum of QEMU's machine type q35 without an emulated IOMMU.
const maxCPUs = 255

func setCPUs(v *vm.VM, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxCPUs {
		return fmt.Errorf("not a number from 1 to %d", maxCPUs)
	}
	v.CPUs = n
	return nil
}

// absolute checks an absolute path of host or guest and returns it without "//" and "/./". It rejects "..", which
// means another directory if a parent is a symbolic link, and control characters.
func absolute(value string) (string, error) {
	switch {
	case !path.IsAbs(value):
		return "", invalid("start the path with / or, for your home directory, with %h", "not an absolute path")
	case slices.Contains(strings.Split(value, "/"), ".."):
		return "", errors.New("path contains ..")
	case strings.IndexFunc(value, unicode.IsControl) >= 0:
		return "", errors.New("path contains a control character")
	case len(value) > 4095: // PATH_MAX without the final NUL
		return "", errors.New("path is too long")
	}
	return path.Clean(value), nil
}

func setWorkDirectory(v *vm.VM, value string) error {
	dir, err := absolute(value)
	if err == nil && dir == "/" {
		err = errors.New("the root directory cannot be a work directory")
	}
	v.WorkDirectory = dir
	return err
}

// setGuest sets the name of a container image or, for a path, the bundle. It rejects characters
// that are special in EnvironmentFile=, which is a glob pattern, in BindReadOnlyPaths=, or in
// QEMU's options.
func setGuest(v *vm.VM, value string) error {
	if !strings.Contains(value, "/") {
		if err := image.CheckName(value); err != nil {
			return err
		}
		v.Image = value
		return nil
	}
	v.Image = ""
	dir, err := absolute(value)
	if err == nil && strings.ContainsAny(dir, `"'\:,*?[`) {
		err = errors.New(`path must not contain any of " ' \ : , * ? [`)
	}
	v.Guest = dir
	return err
}

// appendText adds a word that may contain any text without control characters.
func appendText(list *[]string, word string) error {
	if strings.IndexFunc(word, unicode.IsControl) >= 0 {
		return errors.New("contains a control character")
	}
	*list = append(*list, word)
	return nil
}

func addEnvironment(v *vm.VM, word string) error {
	name, _, found := strings.Cut(word, "=")
	if !found || !IsVariable(name) {
		return fmt.Errorf("%q is not NAME=VALUE", abridged(word))
	}
	prefix := name + "="
	v.Environment = slices.DeleteFunc(v.Environment, func(other string) bool { return strings.HasPrefix(other, prefix) })
	v.Environment = append(v.Environment, word)
	return nil
}

// IsVariable reports whether name is a valid name of an environment variable: ASCII
// letters, digits and underscores, not starting with a digit.
func IsVariable(name string) bool {
	return name != "" && (name[0] < '0' || name[0] > '9') && strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// addCredential parses NAME[:PATH][:guest]. The credentials of Claude Code stay on the host
// unless the word ends with :guest.
func addCredential(v *vm.VM, word string) error {
	word, inGuest := strings.CutSuffix(word, ":guest")
	name, file, found := strings.Cut(word, ":")
	if !IsVariable(name) {
		return fmt.Errorf("%q is not a valid variable name", abridged(name))
	}
	if len(name) > 255 { // NAME_MAX: the credential becomes a file
		return errors.New("name is longer than 255 bytes")
	}
	if found {
		var err error
		if file, err = absolute(file); err != nil {
			return err
		}
		if strings.ContainsAny(file, `"'\:`) {
			return errors.New(`path must not contain any of " ' \ :`)
		}
	}
	v.Credentials = slices.DeleteFunc(v.Credentials, func(c vm.Credential) bool { return c.Name == name })
	v.Credentials = append(v.Credentials, vm.Credential{Name: name, Path: file})
	ofClaude := vm.Injection{Name: name}
	switch {
	case inGuest:
		v.Inject = slices.DeleteFunc(v.Inject, func(i vm.Injection) bool { return i == ofClaude })
	case slices.Contains(claudeSecrets, name) && !slices.Contains(v.Inject, ofClaude):
		v.Inject = append(v.Inject, ofClaude)
	}
	return nil
}

// resetCredentials also removes the credentials of Claude Code, which Inject= names by default.
func resetCredentials(v *vm.VM, _ vm.VM) {
	v.Credentials = nil
	v.Inject = slices.DeleteFunc(v.Inject, func(i vm.Injection) bool { return i.Host == "" })
}

// addPath adds a path relative to the work directory. "." is the work directory.
func addPath(list *[]string, word string) error {
	if err := checkPath(word); err != nil {
		return err
	}
	if strings.ContainsAny(word, "*?") {
		return invalid("list each path", "wildcards are not supported")
	}
	word = path.Clean(word)
	if !slices.Contains(*list, word) {
		*list = append(*list, word)
	}
	return nil
}

// checkPath checks a path relative to the work directory, or a pattern of one.
func checkPath(word string) error {
	switch {
	case word == "":
		return errors.New("empty path")
	case path.IsAbs(word):
		return invalid("write a relative path, for example .env", "not relative to the work directory")
	case slices.Contains(strings.Split(word, "/"), ".."):
		return errors.New("path contains ..")
	case strings.IndexFunc(word, unicode.IsControl) >= 0:
		return errors.New("path contains a control character")
	case tooLong(word):
		return errors.New("path is too long")
	}
	return nil
}

// tooLong reports whether systemd would ignore the path: if a component is longer than
// NAME_MAX, or if the absolute path may be longer than PATH_MAX (4096), of which 1 KiB is
// left for the directory before it.
func tooLong(word string) bool {
	return len(word) > 3072 || slices.ContainsFunc(strings.Split(word, "/"), func(part string) bool { return len(part) > 255 })
}

// addHidden adds a path, a pattern or a group; see package hide.
func addHidden(v *vm.VM, word string) error {
	if path.Clean(word) == "." {
		return errors.New("the work directory itself cannot be hidden")
	}
	if clean := path.Clean(word); !hide.IsPattern(word) && hide.IsPattern(clean) {
		word = "./" + clean // a path that starts with @ or !
	} else if !hide.IsPattern(word) {
		return addPath(&v.Hide, word)
	}
	if err := checkPath(strings.TrimPrefix(word, "!")); err != nil {
		return err
	}
	if err := hide.Check(word); err != nil {
		hint := ""
		if word[0] == '@' {
			groups := slices.Sorted(maps.Keys(hide.Groups))
			hint = cmp.Or(didYouMean("%s", word, groups), "groups are "+strings.Join(groups, ", ")+"; a path starts with ./")
		}
		return invalid(hint, "%w", err)
	}
	if !slices.Contains(v.Hide, word) {
		v.Hide = append(v.Hide, word)
	}
	return nil
}

// addMount parses HOST:GUEST[:ro].
func addMount(v *vm.VM, word string) error {
	parts := strings.Split(word, ":")
	m := vm.Mount{ReadOnly: len(parts) == 3 && parts[2] == "ro"}
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw" {
		return invalid("a path that contains a colon cannot be mounted", "%q is not HOST:GUEST[:ro]", abridged(word))
	}
	var err error
	if m.Host, err = absolute(parts[0]); err != nil {
		return fmt.Errorf("on the host: %w", err)
	}
	if m.Guest, err = absolute(parts[1]); err != nil {
		return fmt.Errorf("in the guest: %w", err)
	}
	if m.Host == "/" {
		return errors.New("the host's root directory cannot be mounted")
	}
	for _, taken := range []string{"/", "/work"} {
		if m.Guest == taken {
			return fmt.Errorf("in the guest, %s is already used", taken)
		}
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run"} {
		if m.Guest == dir || strings.HasPrefix(m.Guest, dir+"/") {
			return fmt.Errorf("in the guest, %s is reserved for the system", dir)
		}
	}
	v.Mounts = append(v.Mounts, m)
	return nil
}
