package main

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"golang.org/x/sys/unix"
)

type killVerb struct {
	dir, signal string
	given       bool // whether --signal was given, maybe with an empty value
}

func (k *killVerb) register(app *kingpin.Application) string {
	cmd := app.Command("kill", "Kill a VM without shutting down its guest, and wait until it has stopped.")
	describe(cmd, "", "kill ~/src/web", "kill --signal=STOP ~/src/web")
	directoryArg(cmd, &k.dir)
	cmd.Flag("signal", "Only send this signal to QEMU.").Short('s').PlaceHolder("SIGNAL").HintOptions("TERM", "INT", "STOP", "CONT", "KILL").IsSetByUser(&k.given).StringVar(&k.signal)
	return cmd.FullCommand()
}

func (k *killVerb) run(ctx context.Context, out *output) (int, error) {
	signal := unix.SIGKILL
	if k.given {
		var err error
		if signal, err = parseSignal(k.signal); err != nil {
			return 0, err
		}
	}
	v, u, err := open(ctx, k.dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	if u.Gone() {
		return 0, v.noInstance("claude-vm-ctl list")
	}
	if !k.given && u.ActiveState == "activating" { // cancel the start; otherwise it fails because QEMU exits
		if err := v.manager.Cancel(ctx, v.unit()); err != nil {
			return 0, err
		}
	}
	err = v.manager.Kill(ctx, v.unit(), signal)
	switch {
	case !k.given:
		return 0, v.finish(ctx, err)
	case errors.Is(err, manager.ErrNoProcess):
		return 0, v.noInstance("claude-vm-ctl list")
	}
	return 0, err
}

// parseSignal reads a signal as kill(1) does.
func parseSignal(text string) (unix.Signal, error) {
	name := strings.ToUpper(text)
	if signal := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); signal != 0 {
		return signal, nil
	}
	const last = 64
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= last {
		return unix.Signal(n), nil
	}
	return 0, failure.New(failure.Usage, "kill -l", "unknown signal %s", text)
}

// finish stops and resets the units of an instance whose QEMU was killed, or did not run
// yet.
func (v *target) finish(ctx context.Context, killed error) error {
	if killed != nil && !errors.Is(killed, manager.ErrNoProcess) {
		return killed
	}
	// Stop cancels a start, and an automatic restart by Restart=. It does not shut down a
	// guest, because QEMU does not run any more.
	if _, err := v.manager.Stop(ctx, v.unit()); err != nil {
		return err
	}
	if _, err := v.awaitGone(ctx); err != nil {
		return err
	}
	for _, name := range instance.Units(v.id) {
		if err := v.manager.ResetFailed(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
