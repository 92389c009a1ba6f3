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

// partFailed runs when a part of the VM on args[0] has failed. It stops what would otherwise go
// on running: a VM without its share, and the other parts of a VM that does not start.
func partFailed(ctx context.Context, args []string) (int, error) {
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
	vm, err := m.Unit(ctx, instance.VM.Unit(id))
	if err != nil {
		return 0, err
	}
	if vm.MainPID != 0 {
		return 0, shareLost(ctx, m, id, vm.MainPID)
	}
	// With a job, the VM is being started again.
	job, err := m.Job(ctx, vm.Name)
	if err != nil || job.ID != "" || !vm.Gone() {
		return 0, err
	}
	_, err = m.Stop(ctx, vm.Name)
	return 0, err
}

// shareLost stops a VM whose QEMU runs as pid, if virtiofsd has failed.
func shareLost(ctx context.Context, m *manager.Manager, id string, pid uint32) error {
	share, err := m.Unit(ctx, instance.Virtiofsd.Unit(id))
	if err != nil || share.Running() {
		return err
	}
	time.Sleep(exitGrace)
	vm, err := m.Unit(ctx, instance.VM.Unit(id))
	if err != nil || vm.MainPID != pid || !vm.Running() {
		return err
	}
	fmt.Fprintln(os.Stderr, "virtiofsd has died: stopping the VM")
	_, err = m.Stop(ctx, vm.Name)
	return err
}
