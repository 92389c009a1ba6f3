// Package nbd serves a file as a disk to one client, over the NBD protocol. QEMU is the
// client, so only what QEMU needs is implemented: the newstyle handshake without TLS, and
// simple replies. See https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md.
package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Disk is what is served. Offsets and lengths are within its size.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	// Discard frees the space of a range, whose content is undefined afterwards.
	Discard(offset, length int64) error
	Size() int64
}

// Magic numbers of the protocol.
const (
	magicServer      = 0x4e42444d41474943 // NBDMAGIC
	magicOption      = 0x49484156454f5054 // IHAVEOPT
	magicOptionReply = 0x3e889045565a9
	magicRequest     = 0x25609513
	magicReply       = 0x67446698
)

// Flags of the handshake, and of the disk.
const (
	fixedNewstyle = 1 << 0
	noZeroes      = 1 << 1

	hasFlags  = 1 << 0
	sendTrim  = 1 << 5
	diskFlags = hasFlags | sendTrim // no flush: nothing is kept when the host crashes
)

// Options of the handshake, replies to them and the one kind of information.
const (
	optionExportName = 1
	optionAbort      = 2
	optionInfo       = 6
	optionGo         = 7

	replyAck         = 1
	replyInfo        = 3
	replyUnsupported = 1<<31 + 1

	infoExport = 0
)

// Commands.
const (
	commandRead       = 0
	commandWrite      = 1
	commandDisconnect = 2
	commandTrim       = 4
)

const (
	maxOption  = 4096     // bytes of the data of an option
	maxRequest = 32 << 20 // bytes to read or write; QEMU's limit, too
)

// Serve serves the disk on a connection until the client disconnects.
func Serve(conn io.ReadWriter, disk Disk) error {
	s := &server{in: bufio.NewReaderSize(conn, 64<<10), out: conn, disk: disk}
	ready, err := s.handshake()
	for err == nil && ready {
		ready, err = s.serveRequest()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return nil // without a disconnect request, for example because QEMU was killed
	}
	return err
}

type server struct {
	in   *bufio.Reader
	out  io.Writer
	disk Disk
	data []byte // of requests; reused
}

// send writes values in network byte order.
func (s *server) send(values ...any) error {
	var b []byte
	for _, v := range values {
		b, _ = binary.Append(b, binary.BigEndian, v)
	}
	_, err := s.out.Write(b)
	return err
}

// receive reads a value of a fixed size in network byte order.
func (s *server) receive(v any) error { return binary.Read(s.in, binary.BigEndian, v) }

// handshake reports whether the client has chosen the disk.
func (s *server) handshake() (bool, error) {
	if err := s.send(uint64(magicServer), uint64(magicOption), uint16(fixedNewstyle|noZeroes)); err != nil {
		return false, err
	}
	var clientFlags uint32
	if err := s.receive(&clientFlags); err != nil {
		return false, err
	}
	for {
		var option struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := s.receive(&option); err != nil {
			return false, err
		}
		if option.Magic != magicOption || option.Length > maxOption {
			return false, fmt.Errorf("invalid option %d of %d bytes", option.Option, option.Length)
		}
		if _, err := s.in.Discard(int(option.Length)); err != nil {
			return false, err
		}
		size := uint64(s.disk.Size())
		switch option.Option {
		case optionExportName: // has no other reply than the disk
			padding := make([]byte, 124)
			if clientFlags&noZeroes != 0 {
				padding = nil
			}
			return true, s.send(size, uint16(diskFlags), padding)
		case optionInfo, optionGo:
			if err := s.replyOption(option.Option, replyInfo, uint16(infoExport), size, uint16(diskFlags)); err != nil {
				return false, err
			}
			if err := s.replyOption(option.Option, replyAck); err != nil || option.Option == optionGo {
				return err == nil, err
			}
		case optionAbort:
			return false, s.replyOption(option.Option, replyAck)
		default:
			if err := s.replyOption(option.Option, replyUnsupported); err != nil {
				return false, err
			}
		}
	}
}

func (s *server) replyOption(option, kind uint32, values ...any) error {
	length := 0
	for _, v := range values {
		length += binary.Size(v)
	}
	return s.send(append([]any{uint64(magicOptionReply), option, kind, uint32(length)}, values...)...)
}

type request struct {
	Magic          uint32
	Flags, Command uint16
	Cookie         uint64
	Offset         uint64
	Length         uint32
}

// serveRequest serves one request. It reports whether the client stays connected.
func (s *server) serveRequest() (bool, error) {
	var r request
	if err := s.receive(&r); err != nil {
		return false, err
	}
	moves := r.Command == commandRead || r.Command == commandWrite
	switch {
	case r.Magic != magicRequest:
		return false, errors.New("not a request")
	case r.Command == commandDisconnect:
		return false, nil
	case moves && r.Length > maxRequest:
		return false, fmt.Errorf("a request for %d bytes", r.Length)
	}
	data := s.buffer(moves, r.Length)
	if r.Command == commandWrite {
		if _, err := io.ReadFull(s.in, data); err != nil {
			return false, err
		}
	}
	err := s.execute(r, data)
	if err != nil || r.Command != commandRead {
		data = nil
	}
	return true, s.send(uint32(magicReply), number(err), r.Cookie, data)
}

// buffer returns a buffer for the data of a request.
func (s *server) buffer(needed bool, length uint32) []byte {
	if !needed {
		return nil
	}
	if int(length) > len(s.data) {
		s.data = make([]byte, length)
	}
	return s.data[:length]
}

func (s *server) execute(r request, data []byte) error {
	size := uint64(s.disk.Size())
	if r.Offset > size || uint64(r.Length) > size-r.Offset {
		return unix.EINVAL
	}
	var err error
	switch r.Command {
	case commandRead:
		_, err = s.disk.ReadAt(data, int64(r.Offset))
	case commandWrite:
		_, err = s.disk.WriteAt(data, int64(r.Offset))
	case commandTrim:
		err = s.disk.Discard(int64(r.Offset), int64(r.Length))
	default:
		err = unix.EINVAL
	}
	return err
}

// number returns the error number of the protocol, which are those of Linux.
func number(err error) uint32 {
	var errno unix.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno) && (errno == unix.ENOSPC || errno == unix.EINVAL):
		return uint32(errno)
	case errors.Is(err, unix.EDQUOT):
		return uint32(unix.ENOSPC)
	}
	return uint32(unix.EIO)
}
