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

// This file has what shells complete, beside verbs and flags, which kingpin knows;
// see completion/. It asks nobody: a prompt must not wait.

// completionFlag is kingpin's. The words before the cursor follow, and then an
// empty one, or one that no flag is called if a flag is to come.
const completionFlag = "--completion-bash"

const (
	// anyDirectory stands for all that a shell knows. Nobody types a blank first.
	anyDirectory = " /"
	// anyText stands for what nobody can know. Kingpin would go on with the arguments
	// after a flag that has no hint.
	anyText = " "
)

// instanceHints are the VMs that run or are configured, and any directory.
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

// fileHints are the names of the .vm files, without a look into them.
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

// choices are those that help shows of a flag's value: a|b.
func choices(value string) []string {
	if strings.Contains(value, "|") && !strings.ContainsAny(value, "[=: ") {
		return strings.Split(value, "|")
	}
	return []string{anyText}
}
