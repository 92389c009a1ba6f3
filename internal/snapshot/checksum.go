package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// checksum is the size of a sparse file, which ranges of it have data, and their checksum. QEMU would
// notice a file that was cut, but not pages of memory that are damaged or missing.
type checksum struct {
	Size   int64      `json:"size"`
	Ranges [][2]int64 `json:"ranges"` // offset and length
	CRC    uint32     `json:"crc"`
}

// magic is at the start of a file that QEMU has written.
const magic = "QEVM"

// maxGap is the largest hole in bytes between two ranges that are joined.
const maxGap = 1 << 20

func newChecksum(path string) (checksum, error) {
	f, err := os.Open(path)
	if err != nil {
		return checksum{}, err
	}
	defer f.Close()
	var c checksum
	if c.Size, err = f.Seek(0, io.SeekEnd); err != nil {
		return c, err
	}
	if c.Ranges, err = ranges(f, c.Size); err != nil {
		return c, err
	}
	c.CRC, err = c.sum(f)
	return c, err
}

// ranges returns where a file has data. All of it has, if the file system does not know.
func ranges(f *os.File, size int64) ([][2]int64, error) {
	var all [][2]int64
	for offset := int64(0); offset < size; {
		start, err := unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err == unix.EINVAL {
			return [][2]int64{{0, size}}, nil
		}
		end := int64(0)
		if err == nil {
			end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		}
		if err != nil {
			return nil, os.NewSyscallError("lseek", err)
		}
		if n := len(all); n > 0 && start-(all[n-1][0]+all[n-1][1]) <= maxGap {
			all[n-1][1] = end - all[n-1][0]
		} else {
			all = append(all, [2]int64{start, end - start})
		}
		offset = end
	}
	return all, nil
}

func (c *checksum) sum(f *os.File) (uint32, error) {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli)) // processors have an instruction for it
	buf := make([]byte, 1<<20)
	for _, r := range c.Ranges {
		if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(f, r[0], r[1])}, buf); err != nil {
			return 0, err
		}
	}
	return h.Sum32(), nil
}

func (c *checksum) check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != c.Size {
		return fmt.Errorf("it has %d bytes instead of %d", info.Size(), c.Size)
	}
	start := make([]byte, len(magic))
	if _, err := f.ReadAt(start, 0); err != nil || !bytes.Equal(start, []byte(magic)) {
		return errors.New("QEMU has not written it")
	}
	sum, err := c.sum(f)
	if err == nil && sum != c.CRC {
		err = errors.New("its checksum is wrong")
	}
	return err
}
