package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"claude-vm-ctl": func() {
			os.Exit(run(context.Background(), os.Args[1:], newOutput(os.Stdin, os.Stdout, os.Stderr)))
		},
	})
}

// TestScripts runs the program where there is no user manager.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"fails": fails, "same": sameID},
		Condition:           condition,
		Setup: func(e *testscript.Env) error {
			home, runtime := filepath.Join(e.WorkDir, "home"), filepath.Join(e.WorkDir, "runtime")
			for _, dir := range []string{home, runtime} {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return err
				}
			}
			e.Setenv("HOME", home)
			e.Setenv("XDG_RUNTIME_DIR", runtime)
			e.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(runtime, "bus"))
			return nil
		},
	})
}

// fails is "! exec" for one exit status, which it has first, and an empty standard
// output.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails STATUS PROGRAM [ARGUMENTS]")
	}
	status := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got := strconv.Itoa(status); got != args[0] || status == 0 {
		ts.Fatalf("status %s, want %s", got, args[0])
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output: %s", out)
	}
}

// sameID expects the id that claude-vm-ctl has for the long directory in the drop-ins
// that the generator writes for it.
func sameID(ts *testscript.TestScript, _ bool, _ []string) {
	long := ts.Getenv("LONG")
	ts.Check(ts.Exec("claude-vm-ctl", "id", filepath.Join("srv", long, long, long)))
	id := strings.TrimSpace(ts.ReadFile("stdout"))
	ts.Check(ts.Exec("claude-vm-ctl", "generate", "--dry-run"))
	if tree := ts.ReadFile("stdout"); !strings.Contains(tree, "# "+instance.VM.Unit(id)+".d/50-vm.conf\n") {
		ts.Fatalf("the id is %s, and what is generated\n%s", id, tree)
	}
}

// condition knows those of the machine that a test cannot change.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "user-namespaces": // and a limit on them
		return exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces").Run() == nil, nil
	case "user-runtime":
		_, err := os.Stat(fmt.Sprintf("/run/user/%d", os.Getuid()))
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %s", name)
}
