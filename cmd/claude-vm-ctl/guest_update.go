package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/claudecode"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
)

type guestUpdateVerb struct {
	version string
	reset   bool
}

func (g *guestUpdateVerb) register(app *kingpin.Application) string {
	cmd := guestCommand(app).Command("update", "Use another version of Claude Code. It is fetched with npm, and replaces that of the installed guest in all VMs that start from now on.")
	describe(cmd, "", "guest update", "guest update 2.1.330", "guest update --reset")
	cmd.Flag("reset", "Use the version in the installed guest again.").BoolVar(&g.reset)
	cmd.Arg("version", "A version, or a tag of npm; by default the newest one.").HintAction(func() []string { return []string{"latest"} }).StringVar(&g.version)
	return cmd.FullCommand()
}

func (g *guestUpdateVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	dir := paths.ClaudeCodeDirectory()
	if g.reset {
		if g.version != "" {
			return 0, usage(fmt.Errorf("--reset excludes a version"))
		}
		changed, err := claudecode.Deselect(ctx, dir, usedBy(paths))
		if err != nil {
			return 0, failure.Plain(err)
		}
		text := "VMs that start from now on use the Claude Code of the installed guest"
		if !changed {
			text = "VMs use the Claude Code of the installed guest already"
		}
		_, err = fmt.Fprintln(out.stdout, text)
		return 0, err
	}
	if g.version == "" {
		g.version = "latest"
	}
	if !claudecode.IsVersion(g.version) {
		return 0, usage(fmt.Errorf("%q is not a version", g.version))
	}
	npm, err := preflight.NPM()
	if err != nil {
		return 0, err
	}
	out.progress("fetching Claude Code " + g.version)
	program, err := claudecode.Update(ctx, npm, dir, g.version, usedBy(paths))
	out.endProgress()
	if err != nil {
		return 0, failure.Plain(err)
	}
	_, err = fmt.Fprintf(out.stdout, "VMs that start from now on use Claude Code %s\n", program.Version)
	return 0, err
}

// usedBy returns a function that reports whether a running VM shares a file.
func usedBy(paths instance.Paths) func(path string) bool {
	var shared []string
	for _, id := range paths.Recorded() {
		if r, err := paths.ReadRecord(id); err == nil {
			for _, s := range r.Shares {
				shared = append(shared, s.Path)
			}
		}
	}
	return func(path string) bool { return slices.Contains(shared, instance.Physical(path)) }
}
