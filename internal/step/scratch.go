package step

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/nbd"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"golang.org/x/sys/unix"
)

// scratchDisk serves the scratch disk of the instance on args[0] to QEMU until QEMU exits. The
// disk is a file without a name in $CACHE_DIRECTORY.
func scratchDisk(ctx context.Context, args []string) (int, error) {
	record, err := readRecord(args[0])
	if err != nil {
		return 0, err
	}
	dir := os.Getenv("CACHE_DIRECTORY")
	disk, err := newScratchFile(filepath.Join(dir, instance.Escape(args[0])), record.Settings.Scratch)
	if err != nil {
		return 0, err
	}
	defer disk.Close()
	if err := os.Remove(contract.ScratchSocket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	listener, err := net.Listen("unix", contract.ScratchSocket)
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	notify("READY=1\nSTATUS=" + size.Format(disk.size) + " in " + dir)
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	conn, err := listener.Accept()
	if err != nil {
		if ctx.Err() != nil {
			err = nil // stopped before QEMU has connected
		}
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	err = nbd.Serve(conn, disk)
	if ctx.Err() != nil {
		err = nil
	}
	return 0, err
}

// scratchFile is the file of a scratch disk.
type scratchFile struct {
	*os.File
	size uint64
	full bool // reported
}

// newScratchFile creates a sparse file and removes its name at once, so that nothing is left
// however the VM ends. If this process is killed in between, an empty file is left, until the
// next start. The disk has two halves, see contract.ScratchSerial. Neither is larger than what is
// free now, so that programs in the guest get errors before its memory runs out.
func newScratchFile(path string, bytes uint64) (*scratchFile, error) {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err == nil {
		bytes, err = 2*min(bytes, freeSpace(f)), os.Remove(path)
	}
	if err == nil {
		err = f.Truncate(int64(bytes))
	}
	if err != nil {
		return nil, fmt.Errorf("create the scratch disk: %w", err)
	}
	return &scratchFile{File: f, size: bytes}, nil
}

// freeSpace returns the free space of the file system of a file, in whole MiB. It is unlimited if
// it is unknown.
func freeSpace(f *os.File) uint64 {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return math.MaxUint64
	}
	return max(fs.Bavail*uint64(fs.Bsize)>>20, 1) << 20
}

func (f *scratchFile) Size() int64 { return int64(f.size) }

// WriteAt writes to the file. The first error is reported: the guest gets an error, too, and
// kills a process when it has no other memory.
func (f *scratchFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	if err != nil && !f.full {
		f.full = true
		notify("STATUS=" + failure.OneLine(err.Error()))
		fmt.Fprintf(os.Stderr, "the guest cannot use more of its scratch disk: %v\n", withoutPath(err))
	}
	return n, err
}

// Discard returns space to the host, if the file system can do that.
func (f *scratchFile) Discard(offset, length int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
