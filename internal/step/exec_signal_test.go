package step

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStoppedBeforeExec: SIGTERM that arrives while a step still prepares to execute another program ends it,
// whether the program has caught it or it arrives afterwards.
func TestStoppedBeforeExec(t *testing.T) {
	if when := os.Getenv("STEP_TEST_SIGNAL"); when != "" {
		ctx, _ := signal.NotifyContext(context.Background(), unix.SIGTERM)
		if when == "caught" {
			unix.Kill(os.Getpid(), unix.SIGTERM)
			<-ctx.Done()
		}
		endIfStopped := takeSignals(ctx)
		if when == "later" {
			unix.Kill(os.Getpid(), unix.SIGTERM)
			select {}
		}
		endIfStopped()
		os.Exit(0)
	}
	for when, want := range map[string]syscall.Signal{"caught": unix.SIGTERM, "later": unix.SIGTERM, "never": 0} {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "STEP_TEST_SIGNAL="+when)
		err := cmd.Run()
		var exit *exec.ExitError
		if want == 0 && err == nil {
			continue
		}
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != want {
			t.Errorf("%s: %v, want %v", when, err, want)
		}
	}
}
