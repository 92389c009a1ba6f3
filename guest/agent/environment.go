package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/user"
	"strings"
)

// environmentFile has variables that whoever has built the guest gives to all that
// runs for people. It need not be there.
const environmentFile = "/etc/environment"

// environment is that of a process of u: what the file says, over it what this
// guest is, and over that what the host asks for.
func environment(u *user.User, file []string, host map[string]string) []string {
	path := os.Getenv("PATH")
	env := []string{"LANG=C.UTF-8"}
	for _, variable := range file { // exec keeps the last of two equal names
		if dirs, found := strings.CutPrefix(variable, "PATH="); found && dirs != "" {
			path = dirs + ":" + os.Getenv("PATH")
		}
		env = append(env, variable)
	}
	env = append(env,
		"HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username, "SHELL=/bin/bash",
		"PATH="+path, "TERM=xterm-256color",
		// What the host protects in the work directory is a mount of its own.
		"GIT_DISCOVERY_ACROSS_FILESYSTEM=1",
	)
	for k, v := range host {
		env = append(env, k+"="+v)
	}
	return env
}

// readVariables gives the variables of a file. A line that is wrong is told and left
// out: Claude has to start all the same.
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

// parseVariable reads a line as pam_env(8) does: quotes may be around the whole
// value, and nothing stands for anything else. It gives none for a comment.
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
			return "", fmt.Errorf("a quote at one end only: %q", line)
		}
		value = strings.TrimSuffix(value, quote)
	}
	return name + "=" + value, nil
}
