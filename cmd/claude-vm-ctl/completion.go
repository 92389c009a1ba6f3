package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// This file returns the values that shells complete; kingpin completes verbs and flags. The
// scripts are in completion/. Completion must not block the shell, so it does not call the user manager.

// completionFlag is kingpin's flag for completion. The words before the cursor follow it, then
// an empty word or, to complete flags, a word that is no flag.
const completionFlag = "--completion-bash"

const (
	// anyDirectory makes the shell complete directories. It starts with a space, so it
	// does not match what users type.
	anyDirectory = " /"
	// anyText makes the shell complete nothing. For a flag without hints, kingpin would
	// complete the arguments of the verb.
	anyText = " "
)

// instanceHints returns the running VMs, the configured VMs and anyDirectory.
func instanceHints() []string {
	paths, err := instance.HostPaths()
	if err != nil {
		return []string{anyDirectory}
	}
	var hints []string
	for _, id := range paths.Recorded() {
		if dir, err := instance.Directory(id); err == nil {
			hints = append(hints, dir)
		}
	}
	hints = slices.DeleteFunc(append(hints, fileHints()...), func(hint string) bool { return failure.OneLine(hint) != hint })
	return append(hints, anyDirectory)
}

// fileHints returns the names of the .vm files. It does not read them.
func fileHints() []string {
	paths, err := instance.HostPaths()
	if err != nil {
		return nil
	}
	var names []string
	for _, dir := range vmfile.SearchPath(paths) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if name := e.Name(); !e.IsDir() && filepath.Ext(name) == vmfile.Suffix && name[0] != '.' {
				names = append(names, strings.TrimSuffix(name, vmfile.Suffix))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// choices returns the values of a flag that has a placeholder like a|b.
func choices(value string) []string {
	if strings.Contains(value, "|") && !strings.ContainsAny(value, "[=: ") {
		return strings.Split(value, "|")
	}
	return []string{anyText}
}
