// Package scripts holds what the Makefile calls to what it promises.
package scripts

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

// TestScripts has a checkout in the current directory, in which the programs are
// those of the script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ARCH", "")
			// Not links to them: what is read here go test takes for what the result depends on.
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
