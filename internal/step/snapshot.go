package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/nbd"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
	"golang.org/x/sys/unix"
)

// templateBundle is where claude-vm-snapshot@ binds the guest bundle, which may be in the home.
const templateBundle = "/tmp/bundle"

// settleTime is how long a guest may go on booting after its agent has answered.
const settleTime = 3 * time.Second

// makeSnapshot boots a guest, saves its memory as the snapshot with the key args[0], and ends it. The guest
// receives no begin, so it has nothing of an instance, and has run nothing but its bundle.
func makeSnapshot(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	store, key := paths.Snapshots(), args[0]
	if _, err := store.Read(key); !snapshot.IsKey(key) || err == nil {
		return 0, err
	}
	spec, err := store.ReadSpec(key)
	if err != nil {
		return 0, fmt.Errorf("how to make the snapshot: %w", err)
	}
	if _, err := confine.Check(spec.Host, confine.Wanted{Insecure: spec.Insecure}); err != nil {
		return 0, err
	}
	lock, err := store.Begin(key)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	t := &template{spec: spec, memory: store.NewMemory(key)}
	if err := t.save(ctx); err != nil {
		return 0, err
	}
	notify("STATUS=Writing the snapshot to the disk")
	if err := store.Commit(key, spec); err != nil {
		return 0, err
	}
	return 0, store.Prune(key)
}

// endSnapshot removes what is left after makeSnapshot, also if it was killed.
func endSnapshot(_ context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	return 0, paths.Snapshots().Finish(args[0])
}

// execAlone executes args in place of this process, which then cannot signal other processes.
func execAlone(_ context.Context, args []string) (int, error) {
	if len(args) == 0 {
		return 0, errors.New("no command")
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = confine.OnlyItself()
	}
	if err == nil {
		err = confine.DenyDatagrams()
	}
	if err == nil {
		err = syscall.Exec(path, args, ownEnvironment())
	}
	return 0, err
}

// template is the guest of which a snapshot is made.
type template struct {
	spec   snapshot.Spec
	memory string // file to save to
}

// save boots the guest in a new directory and saves its memory.
func (t *template) save(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil { // for the relative paths of sockets
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := t.serve(ctx); err != nil {
		return err
	}
	var console, errs strings.Builder
	qemu := alone(ctx, t.command())
	qemu.Stdout, qemu.Stderr = &console, &errs
	if err := qemu.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		qemu.Wait()
		close(exited)
		cancel(errors.New("QEMU exited"))
	}()
	if err = t.saveBooted(ctx); err != nil {
		cancel(err)
		<-exited
		return fmt.Errorf("%w; QEMU printed %q, and the guest's console ends with %q", err, end(errs.String()), end(console.String()))
	}
	<-exited
	return nil
}

// end returns the end of a text.
func end(text string) string { return text[max(0, len(text)-500):] }

// alone returns a command that is executed by the step exec-alone.
func alone(ctx context.Context, command []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"unit", "exec-alone", "--"}, command...)...)
	cmd.Stderr = os.Stderr
	// Also if this process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd
}

// command returns QEMU's command. The bundle is in another place than for VMs; its path is not part of the
// state of the guest.
func (t *template) command() []string {
	var all []string
	for _, word := range t.spec.Command {
		all = append(all, strings.ReplaceAll(word, t.spec.Bundle+"/", templateBundle+"/"))
	}
	return all
}

// serve starts what QEMU connects to: virtiofsd with an empty directory, and an empty scratch disk.
func (t *template) serve(ctx context.Context) error {
	if err := os.Mkdir("empty", 0o500); err != nil {
		return err
	}
	dir, err := filepath.Abs("empty")
	if err != nil {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: contract.ShareSocket, Net: "unix"})
	if err != nil {
		return err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	if err != nil {
		return err
	}
	defer file.Close()
	// The unit is the sandbox of virtiofsd: there is nothing to share, and its own needs namespaces.
	virtiofsd := alone(ctx, []string{t.spec.Virtiofsd, "--fd=3", "--shared-dir=" + dir, "--sandbox=none", "--announce-submounts",
		"--translate-uid=map:1000:0:1", "--translate-gid=map:1000:0:1", "--xattr", "--inode-file-handles=never", "--rlimit-nofile=0", "--log-level=warn"})
	virtiofsd.ExtraFiles = []*os.File{file}
	if err := virtiofsd.Start(); err != nil {
		return err
	}
	go virtiofsd.Wait()
	scratch, err := net.Listen("unix", contract.ScratchSocket)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { scratch.Close() })
	go func() {
		if conn, err := scratch.Accept(); err == nil {
			defer conn.Close()
			nbd.Serve(conn, emptyDisk{})
		}
	}()
	return nil
}

// saveBooted waits until the guest has booted, saves its memory, and ends QEMU.
func (t *template) saveBooted(ctx context.Context) error {
	notify("STATUS=Booting the guest")
	client, err := dialBooting(ctx)
	if err != nil {
		return err
	}
	client.Close()
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	notify("STATUS=Saving the memory of the guest")
	m, err := openMonitor(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.checkVersion(); err != nil {
		return err
	}
	if err := m.mapMemory(); err != nil {
		return err
	}
	if err := m.run("migrate", map[string]any{"uri": "file:" + t.memory}, nil); err != nil {
		return err
	}
	if err := m.awaitMigration(ctx); err != nil {
		return fmt.Errorf("save the memory of the guest: %w", err)
	}
	if status := guest.ReadStatus("."); status.Ready || status.Exit != nil {
		return errors.New("the guest is already an instance")
	}
	return m.run("quit", nil, nil)
}

// checkVersion returns an error if QEMU is older than 9.1: it would exit when resuming fails.
func (m *monitor) checkVersion() error {
	var version struct{ QEMU struct{ Major, Minor int } }
	if err := m.run("query-version", nil, &version); err != nil {
		return err
	}
	if v := version.QEMU; v.Major < 9 || v.Major == 9 && v.Minor < 1 {
		return fmt.Errorf("QEMU is version %d.%d, older than 9.1", v.Major, v.Minor)
	}
	return nil
}

// emptyDisk is the scratch disk of a template. The guest does not use it before begin, and then reads the
// size of its own.
type emptyDisk struct{}

const emptySize = 64 << 20

func (emptyDisk) Size() int64 { return emptySize }

func (emptyDisk) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

func (emptyDisk) WriteAt([]byte, int64) (int, error) { return 0, io.ErrShortWrite }

func (emptyDisk) Discard(_, _ int64) error { return nil }
