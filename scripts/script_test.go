// Package scripts tests the scripts that the Makefile calls.
package scripts

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

// TestScripts runs the scripts in testdata/script. Their working directory looks like a
// checkout, with stand-ins from the script as the built programs.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ARCH", "")
			// Copy instead of link: go test only notices a change of a file, and does not use a
			// cached result, if this process itself has read the file.
			for _, name := range []string{"scripts", "units", "internal/contract"} {
				if err := os.CopyFS(filepath.Join(e.WorkDir, name), os.DirFS(filepath.Join("..", name))); err != nil {
					return err
				}
			}
			for _, name := range []string{"claude-vm-ctl", "claude-vm-generator"} {
				if err := os.Chmod(filepath.Join(e.WorkDir, "build", name), 0o755); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
