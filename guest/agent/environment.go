package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/user"
	"slices"
	"strings"
)

// environmentFile has the variables that the guest image sets for Claude and all shells
// and commands. It may be missing.
const environmentFile = "/etc/environment"

// environment returns the environment of a process of u. The variables of the image are
// overridden by those in the file, these by the agent's own variables, and all by the host's
// variables. A PATH in the file does not replace the agent's PATH, but is put before it.
func (r *root) environment(u *user.User, file []string, host map[string]string) []string {
	path := r.path()
	env := []string{"LANG=C.UTF-8"}
	if r != nil {
		env = append(env, r.variables...)
	}
	for _, variable := range file { // exec keeps the last of two equal names
		if dirs, found := strings.CutPrefix(variable, "PATH="); found && dirs != "" {
			path = dirs + ":" + r.path()
		}
		env = append(env, variable)
	}
	env = append(env,
		"HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username, "SHELL="+r.shell(),
		"PATH="+path, "TERM=xterm-256color",
		// By default, git does not search for a repository across mount points. Paths in
		// the work directory that the host protects are mount points.
		"GIT_DISCOVERY_ACROSS_FILESYSTEM=1",
	)
	for k, v := range host {
		env = append(env, k+"="+v)
	}
	return env
}

// readVariables returns the variables in a file. Invalid lines are logged and ignored,
// because they should not prevent Claude from starting.
func readVariables(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Print(err)
	}
	var variables []string
	for i, line := range strings.Split(string(text), "\n") {
		variable, err := parseVariable(strings.TrimSpace(line))
		if err != nil {
			log.Printf("%s:%d: %v", file, i+1, err)
		}
		if variable != "" {
			variables = append(variables, variable)
		}
	}
	return variables
}

// parseVariable parses a line like pam_env(8): the whole value may be quoted, and there
// are no escapes or expansions. It returns "" for a comment.
func parseVariable(line string) (string, error) {
	if line == "" || line[0] == '#' {
		return "", nil
	}
	name, value, found := strings.Cut(line, "=")
	if !found || name == "" || strings.ContainsAny(name, " \t\"'$") || strings.IndexByte(line, 0) >= 0 {
		return "", fmt.Errorf("not NAME=VALUE: %q", line)
	}
	if value != "" && strings.ContainsRune(`"'`, rune(value[0])) {
		quote := value[:1]
		if value = value[1:]; !strings.HasSuffix(value, quote) {
			return "", fmt.Errorf("unbalanced quote: %q", line)
		}
		value = strings.TrimSuffix(value, quote)
	}
	return name + "=" + value, nil
}

// variable returns the value of a variable. The last of two with the same name counts.
func variable(env []string, name string) string {
	for _, v := range slices.Backward(env) {
		if value, found := strings.CutPrefix(v, name+"="); found {
			return value
		}
	}
	return ""
}

// withoutVariables returns env without the variables with these names.
func withoutVariables(env []string, names ...string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(names, name)
	})
}
