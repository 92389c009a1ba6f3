package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
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
