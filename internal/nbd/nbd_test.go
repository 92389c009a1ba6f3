package nbd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// memory is a Disk in memory, on which the last byte cannot be written.
type memory []byte

func (m memory) Size() int64                             { return int64(len(m)) }
func (m memory) ReadAt(p []byte, off int64) (int, error) { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) == m.Size() {
		return 0, unix.ENOSPC
	}
	return copy(m[off:], p), nil
}

func (m memory) Discard(off, length int64) error {
	clear(m[off : off+length])
	return nil
}

// message returns the bytes of values in network byte order.
func message(values ...any) string {
	var b []byte
	for _, v := range values {
		if text, ok := v.(string); ok {
			b = append(b, text...)
			continue
		}
		b, _ = binary.Append(b, binary.BigEndian, v)
	}
	return string(b)
}

func option(number uint32, data string) string {
	return message(uint64(magicOption), number, uint32(len(data)), data)
}

func command(number uint16, offset uint64, length uint32, data string) string {
	return message(uint32(magicRequest), uint16(0), number, uint64(7), offset, length, data)
}

func reply(status uint32, data string) string {
	return message(uint32(magicReply), status, uint64(7), data)
}

// stream is a connection whose client sends all at once.
type stream struct {
	io.Reader
	bytes.Buffer
}

func (s *stream) Read(p []byte) (int, error) { return s.Reader.Read(p) }

const greeting = "NBDMAGICIHAVEOPT\x00\x03"

func TestServe(t *testing.T) {
	goReplies := message(uint64(magicOptionReply), uint32(optionGo), uint32(replyInfo), uint32(12), uint16(infoExport), uint64(16), uint16(diskFlags),
		uint64(magicOptionReply), uint32(optionGo), uint32(replyAck), uint32(0))
	start := message(uint32(3)) + option(optionGo, "\x00\x00\x00\x00\x00\x00")
	for name, test := range map[string]struct{ in, out, err string }{
		"nothing":          {"", greeting, ""},
		"abort":            {message(uint32(3)) + option(optionAbort, ""), greeting + message(uint64(magicOptionReply), uint32(optionAbort), uint32(replyAck), uint32(0)), ""},
		"unknown option":   {message(uint32(3)) + option(8, ""), greeting + message(uint64(magicOptionReply), uint32(8), uint32(replyUnsupported), uint32(0)), ""},
		"no option":        {message(uint32(3), uint64(1), uint64(0)), greeting, "invalid option 0 of 0 bytes"},
		"a large option":   {message(uint32(3), uint64(magicOption), uint32(7), uint32(5000)), greeting, "invalid option 7 of 5000 bytes"},
		"export name":      {message(uint32(3)) + option(optionExportName, ""), greeting + message(uint64(16), uint16(diskFlags)), ""},
		"with zeroes":      {message(uint32(1)) + option(optionExportName, ""), greeting + message(uint64(16), uint16(diskFlags), strings.Repeat("\x00", 124)), ""},
		"write and read":   {start + command(commandWrite, 4, 3, "abc") + command(commandRead, 3, 5, ""), greeting + goReplies + reply(0, "") + reply(0, "\x00abc\x00"), ""},
		"discard":          {start + command(commandWrite, 0, 4, "abcd") + command(commandTrim, 1, 2, "") + command(commandRead, 0, 4, ""), greeting + goReplies + reply(0, "") + reply(0, "") + reply(0, "a\x00\x00d"), ""},
		"full":             {start + command(commandWrite, 12, 4, "abcd"), greeting + goReplies + reply(28, ""), ""},
		"behind the end":   {start + command(commandRead, 12, 5, "") + command(commandTrim, 17, 0, ""), greeting + goReplies + reply(22, "") + reply(22, ""), ""},
		"overflow":         {start + command(commandTrim, 1<<64-1, 2, ""), greeting + goReplies + reply(22, ""), ""},
		"unknown command":  {start + command(9, 0, 0, ""), greeting + goReplies + reply(22, ""), ""},
		"a large request":  {start + command(commandRead, 0, maxRequest+1, ""), greeting + goReplies, "a request for 33554433 bytes"},
		"no request":       {start + strings.Repeat("x", 28), greeting + goReplies, "not a request"},
		"disconnect":       {start + command(commandDisconnect, 0, 0, "") + "x", greeting + goReplies, ""},
		"cut in a request": {start + command(commandWrite, 0, 4, "ab"), greeting + goReplies, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &stream{Reader: strings.NewReader(test.in)}
			err := Serve(conn, make(memory, 16))
			if got := conn.String(); got != test.out {
				t.Errorf("got\n%swant\n%s", hex.Dump([]byte(got)), hex.Dump([]byte(test.out)))
			}
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for err, want := range map[error]uint32{nil: 0, unix.EDQUOT: 28, unix.EINTR: 5, errors.New("other"): 5} {
		if got := number(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

// FuzzServe looks for input with which the server panics or does not return.
func FuzzServe(f *testing.F) {
	f.Add([]byte(message(uint32(3)) + option(optionGo, "") + command(commandWrite, 0, 4, "abcd") + command(commandRead, 0, 16, "")))
	f.Fuzz(func(t *testing.T, in []byte) {
		Serve(&stream{Reader: bytes.NewReader(in)}, make(memory, 16))
	})
}
