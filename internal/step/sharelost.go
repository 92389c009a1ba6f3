package step

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// exitGrace is how long QEMU may still run if virtiofsd has failed only because QEMU is
// exiting.
const exitGrace = time.Second

// shareLost runs when virtiofsd has failed. It stops the VM on args[0] if it is still
// running.
func shareLost(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	m, err := manager.DialDirect(ctx, paths.Runtime)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	id := instance.Escape(args[0])
	first, err := m.Unit(ctx, instance.VM.Unit(id))
	if err != nil || first.MainPID == 0 {
		return 0, err
	}
	time.Sleep(exitGrace)
	vm, err := m.Unit(ctx, instance.VM.Unit(id))
	if err != nil || vm.MainPID != first.MainPID || !vm.Running() {
		return 0, err
	}
	fmt.Fprintln(os.Stderr, "virtiofsd has died: stopping the VM")
	_, err = m.Stop(ctx, instance.VM.Unit(id))
	return 0, err
}
