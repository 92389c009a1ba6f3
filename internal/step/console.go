package step

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// Limits of the guest's lines in the journal. A boot has a few hundred. By default, journald drops
// lines above 10,000 in 30 seconds, and counts those of all units of the user together.
const (
	lineRate, lineBurst = 50, 2000 // lines per second
	byteRate, byteBurst = 32 << 10, 1 << 20
	maxLine             = 4096 // bytes; a longer line is split
	reportInterval      = 10 * time.Second
)

// console copies the console of the instance on args[0], which QEMU writes to a named pipe, to the
// journal until ctx is done.
func console(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	// Open for writing, too: otherwise, it would end when QEMU restarts.
	pipe, err := os.OpenFile(paths.ConsolePipe(id), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer pipe.Close()
	notify("READY=1")
	// QEMU has exited before this unit is stopped: read what is left.
	stop := context.AfterFunc(ctx, func() { pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) })
	defer stop()
	unit := instance.VM.Unit(id)
	c := &consoleLog{
		of:    "the guest",
		lines: rate.NewLimiter(lineRate, lineBurst), bytes: rate.NewLimiter(byteRate, byteBurst),
		send: func(line string) error {
			return journal.Send(line, journal.PriInfo, map[string]string{"SYSLOG_IDENTIFIER": "claude-vm-guest", "USER_UNIT": unit})
		},
	}
	err = c.copy(pipe)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return 0, err
}

// consoleLog sends lines within limits.
type consoleLog struct {
	of           string // who has written them
	lines, bytes *rate.Limiter
	dropped      int
	reported     time.Time
	send         func(line string) error
}

// copy sends the lines of in until it ends.
func (c *consoleLog) copy(in io.Reader) error {
	r := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil // the rest is another line
		}
		if line = bytes.TrimRight(line, "\r\n\x00"); len(line) > 0 {
			if err := c.add(printable(line)); err != nil {
				return err
			}
		}
		if err != nil {
			return errors.Join(err, c.report())
		}
	}
}

// printable replaces control characters: "journalctl --output=cat" prints lines as they are, also escape
// sequences.
func printable(line []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(line), "\uFFFD"))
}

// add sends a line or drops it.
func (c *consoleLog) add(line string) error {
	now := time.Now()
	// A line that is dropped uses no tokens.
	if c.lines.TokensAt(now) < 1 || c.bytes.TokensAt(now) < float64(len(line)) {
		c.dropped++
		return nil
	}
	c.lines.AllowN(now, 1)
	c.bytes.AllowN(now, len(line))
	if now.Sub(c.reported) >= reportInterval {
		c.reported = now
		if err := c.report(); err != nil {
			return err
		}
	}
	return c.send(line)
}

// report sends how many lines were dropped, if any.
func (c *consoleLog) report() error {
	if c.dropped == 0 {
		return nil
	}
	text := fmt.Sprintf("%d lines of %s were dropped", c.dropped, c.of)
	c.dropped = 0
	return c.send(text)
}
