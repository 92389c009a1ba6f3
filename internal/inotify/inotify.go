// Package inotify parses the events of inotify(7).
package inotify

import (
	"encoding/binary"
	"iter"
	"strings"

	"golang.org/x/sys/unix"
)

// Event is struct inotify_event.
type Event struct {
	Watch int // the watch descriptor; -1 if Mask is IN_Q_OVERFLOW
	Mask  uint32
	Name  string // in the watched directory; empty for what is watched itself
}

// Events returns the events that read(2) has put into buf.
func Events(buf []byte) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for len(buf) >= unix.SizeofInotifyEvent {
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
			e := Event{
				Watch: int(int32(binary.NativeEndian.Uint32(buf))),
				Mask:  binary.NativeEndian.Uint32(buf[4:]),
				Name:  strings.TrimRight(string(buf[unix.SizeofInotifyEvent:end]), "\x00"),
			}
			if !yield(e) {
				return
			}
			buf = buf[end:]
		}
	}
}
