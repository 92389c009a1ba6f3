// Package vport makes connections out of a virtio-serial port.
//
// A port is one endless byte stream: neither end learns reliably when the
// other was replaced. A client may be killed in mid-word and its successor
// connected before the guest has seen the hang-up, and then bytes of two
// clients meet in one stream. So the bytes are stuffed, as in HDLC: the mark
// never occurs in data, and a hello or an acknowledgement with a nonce is
// recognised wherever it falls. Everything before it belongs to the past.
//
// The package knows nothing of what is said over a connection.
package vport

const (
	mark   = 0x7e // begins a control word
	escape = 0x7d // the next byte of data is XORed with flip
	flip   = 0x20

	kindHello = 'H' // client: a new connection begins here
	kindAck   = 'A' // server: so does my side of it
	kindClose = 'C' // server: no more from me

	nonceSize = 16 // hexadecimal digits, thus never stuffed
)

// nonce names one connection; both directions carry it.
type nonce [nonceSize]byte

// word is one control word.
type word struct {
	kind  byte
	nonce nonce
}

func (w word) bytes() []byte {
	return append([]byte{mark, w.kind}, w.nonce[:]...)
}

// stuff appends data to dst in a form that has no mark in it.
func stuff(dst, data []byte) []byte {
	for _, b := range data {
		if b == mark || b == escape {
			dst = append(dst, escape, b^flip)
		} else {
			dst = append(dst, b)
		}
	}
	return dst
}

// decoder splits a stream into data and control words. The zero value is ready.
type decoder struct {
	escaped bool
	control []byte // the control word so far, without the mark; nil outside one
	data    []byte
}

// feed decodes raw and calls onData and onWord in stream order.
// The slice given to onData is valid during the call only.
func (d *decoder) feed(raw []byte, onData func([]byte), onWord func(word)) {
	flush := func() {
		if len(d.data) > 0 {
			onData(d.data)
			d.data = d.data[:0]
		}
	}
	for _, b := range raw {
		switch {
		case b == mark:
			// Also ends a control word or an escape that was cut short.
			flush()
			d.escaped = false
			d.control = make([]byte, 0, 1+nonceSize)
		case d.control != nil:
			d.control = append(d.control, b)
			if len(d.control) == 1+nonceSize {
				w := word{kind: d.control[0]}
				copy(w.nonce[:], d.control[1:])
				d.control = nil
				onWord(w)
			}
		case b == escape:
			d.escaped = true
		case d.escaped:
			d.escaped = false
			d.data = append(d.data, b^flip)
		default:
			d.data = append(d.data, b)
		}
	}
	flush()
}
