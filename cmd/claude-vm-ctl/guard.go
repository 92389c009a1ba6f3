package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guard"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

type guardVerb struct {
	words []string
	json  bool
}

func (g *guardVerb) register(app *kingpin.Application) string {
	cmd := app.Command("guard", "Show which files that your programs execute or obey a VM has changed, or accept these changes.")
	describe(cmd, "", "guard", "guard ~/src/web accept", "guard accept .git/hooks/post-checkout")
	cmd.Arg("dir", "The project's directory, its id or its .vm file's name; then show or accept, and the paths to accept if not all.").HintAction(guardHints).StringsVar(&g.words)
	cmd.Flag("json", "Print JSON, for scripts.").BoolVar(&g.json)
	return cmd.FullCommand()
}

// guardActions are the actions of the verb; show is the default.
var guardActions = []string{"show", "accept"}

func guardHints() []string { return append(instanceHints(), guardActions...) }

func (g *guardVerb) run(ctx context.Context, out *output) (int, error) {
	dir, words := ".", g.words
	if len(words) > 0 && !slices.Contains(guardActions, words[0]) {
		dir, words = words[0], words[1:]
	}
	accept := len(words) > 0 && words[0] == "accept"
	switch {
	case len(words) > 0 && !slices.Contains(guardActions, words[0]):
		return 0, usage(fmt.Errorf("unknown action %s; use %s", words[0], strings.Join(guardActions, " or ")))
	case len(words) > 1 && !accept:
		return 0, usage(errors.New("show takes no paths"))
	}
	v, _, err := open(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	kept := guard.Open(v.paths.GuardFile(v.id))
	if accept {
		return 0, v.acceptChanges(ctx, out, kept, words[1:])
	}
	found, err := kept.Findings(ctx)
	if err != nil {
		return 0, err
	}
	if g.json {
		return 0, json.NewEncoder(out.stdout).Encode(v.reports(found))
	}
	_, err = fmt.Fprint(out.stdout, v.describeFindings(found))
	return 0, err
}

// acceptChanges drops findings for paths, which may be relative to the directory.
func (v *target) acceptChanges(ctx context.Context, out *output, kept *guard.Guard, paths []string) error {
	for i, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(v.dir, path)
		}
		paths[i] = filepath.Clean(path)
	}
	accepted, err := kept.Accept(ctx, paths)
	if err != nil {
		return err
	}
	for _, path := range paths {
		found := false
		for _, f := range accepted {
			found = found || f.Path == path
		}
		if !found {
			return failure.New(failure.Failed, "claude-vm-ctl guard"+v.hintArg(), "%s is not among the changes", guard.Display(path))
		}
	}
	out.note("accepted %d changes", len(accepted))
	return nil
}

// guardReport is a finding in JSON.
type guardReport struct {
	Path     string `json:"path"`
	Change   string `json:"change"`
	What     string `json:"what"`
	Severity string `json:"severity"`
}

var severities = map[guard.Severity]string{guard.High: "high", guard.Medium: "medium", guard.Low: "low"}

func (v *target) reports(found []guard.Finding) []guardReport {
	all := []guardReport{}
	for _, f := range found {
		all = append(all, guardReport{guard.Display(f.Path), string(f.Change), f.What, severities[f.Severity]})
	}
	return all
}

// relative returns a path as it is shown.
func (v *target) relative(path string) string {
	if rest, found := strings.CutPrefix(path, v.dir+"/"); found {
		path = rest
	}
	return guard.Display(path)
}

// describeFindings returns all findings with what can be done about them.
func (v *target) describeFindings(found []guard.Finding) string {
	if len(found) == 0 {
		return "No file that programs of this machine execute or obey was changed.\n"
	}
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%-8s %s\n         %s\n", f.Change, v.relative(f.Path), f.What)
		quoted := guard.Word(f.Path)
		switch f.Change {
		case guard.New:
			fmt.Fprintf(&b, "         to look: find %s -type f -exec cat -v {} +\n         to remove: rm -r %s\n", quoted, quoted)
		case guard.Changed:
			fmt.Fprintf(&b, "         to look: cat -v %s\n", quoted)
		}
	}
	fmt.Fprintf(&b, "To accept them: claude-vm-ctl guard%s accept\n", v.hintArg())
	return b.String()
}

// maxShown is the number of findings that are printed without being asked for.
const maxShown = 5

// changeWords are the changes in a sentence.
var changeWords = map[guard.Change]string{
	guard.New: "was created", guard.Changed: "was changed", guard.Gone: "was removed", guard.Unread: "cannot be searched",
}

// warnOfFindings prints what has changed, if it is more than files of the build.
func (v *target) warnOfFindings(out *output, found []guard.Finding) {
	shown := 0
	for _, f := range found {
		if f.Severity == guard.Low || shown == maxShown {
			break // sorted by severity
		}
		out.warning(fmt.Sprintf("%s %s during the run; %s", v.relative(f.Path), changeWords[f.Change], f.What))
		shown++
	}
	if shown == 0 {
		return
	}
	text := "see claude-vm-ctl guard" + v.hintArg()
	if n := len(found) - shown; n > 0 {
		text = fmt.Sprintf("%d more; ", n) + text
	}
	out.warning(text)
}

// reportGuard waits until the guard has compared the files of a VM that has stopped, and prints
// what it has found.
func (v *target) reportGuard(ctx context.Context, out *output) error {
	const timeout = time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	name := instance.Guard.Unit(v.id)
	var last manager.Unit
	err := v.manager.Watch(ctx, name, func(u manager.Unit) bool {
		last = u
		return u.Gone()
	})
	if err == nil && last.ActiveState == "failed" {
		err = failure.New(failure.Failed, "journalctl --user -n 20 -u "+failure.Command(name), "cannot check which files the VM has changed: %s", failure.OneLine(last.StatusText))
	}
	if err != nil {
		return err
	}
	found, err := guard.Open(v.paths.GuardFile(v.id)).Known()
	v.warnOfFindings(out, found)
	return err
}
