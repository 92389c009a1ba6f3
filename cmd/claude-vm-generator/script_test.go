package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"claude-vm-generator": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tree":     tree,
			"portable": printPortable,
			"usage":    runUsage,
		},
		Condition: condition,
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				"HOME": "/home/me", "USER": "me", "XDG_RUNTIME_DIR": "/run/user/1000",
				"XDG_CONFIG_HOME": "", "XDG_STATE_HOME": "", "XDG_CACHE_HOME": "",
				"CLAUDE_VM_UNIT_DIRS": filepath.Join(e.WorkDir, "vms"),
			} {
				e.Setenv(name, value)
			}
			return nil
		},
	})
}

// condition implements two conditions. [hostfiles]: the machine has .vm files for all
// users, which the default search path finds. [home]: the user has a home directory in
// the user database. It fails in CI if a script would be skipped because of them.
func condition(name string) (bool, error) {
	has, err := machineHas(name)
	if err == nil && os.Getenv("CI") != "" && has != (name == "home") {
		err = fmt.Errorf("[%s] is %v in CI, so a script would be skipped", name, has)
	}
	return has, err
}

func machineHas(name string) (bool, error) {
	switch name {
	case "hostfiles":
		for _, dir := range []string{"/etc/claude-vm/user", "/usr/share/claude-vm/user"} {
			if _, err := os.Stat(dir); err == nil {
				return true, nil
			}
		}
		return false, nil
	case "home":
		me, err := user.LookupId(strconv.Itoa(os.Getuid()))
		return err == nil && len(me.HomeDir) > 1, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// tree is the command "tree DIR". It prints all files and links below a directory. It
// also prints empty directories, because there should be none.
func tree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tree DIR")
	}
	root := ts.MkAbs(args[0])
	var b strings.Builder
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case d.IsDir():
			if entries, err := os.ReadDir(path); err != nil || len(entries) > 0 {
				return err
			}
			fmt.Fprintf(&b, "\n==> %s/ <==\n", name)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			fmt.Fprintf(&b, "\n==> %s -> %s <==\n", name, target)
			return err
		default:
			text, err := os.ReadFile(path)
			fmt.Fprintf(&b, "\n==> %s <==\n%s", name, text)
			return err
		}
		return nil
	}))
	fmt.Fprint(ts.Stdout(), portable(ts, strings.TrimPrefix(b.String(), "\n")))
}

// printPortable is the command "portable stdout|stderr". It prints the output of the
// previous command with $WORK in place of the script's directory, which is different in
// each run.
func printPortable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: portable stdout|stderr")
	}
	fmt.Fprint(ts.Stdout(), portable(ts, ts.ReadFile(args[0])))
}

// runUsage is the command "usage ARGS". It runs the generator, expects the exit status of
// a usage error, and prints standard error.
func runUsage(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("claude-vm-generator", args...)
	var exit *exec.ExitError
	if neg || !errors.As(err, &exit) || exit.ExitCode() != 2 {
		ts.Fatalf("%v, want exit status 2", err)
	}
	if text := ts.ReadFile("stdout"); text != "" {
		ts.Fatalf("standard output: %s", text)
	}
	fmt.Fprint(ts.Stdout(), ts.ReadFile("stderr"))
}

func portable(ts *testscript.TestScript, text string) string {
	return strings.ReplaceAll(text, ts.Getenv("WORK"), "$WORK")
}
