// Package vport implements connections over a virtio-serial port.
//
// A port is a single byte stream: neither end reliably notices that the other was
// replaced. A client may be killed in the middle of a write, and the next client may
// connect before the guest has noticed the hang-up, so that the guest reads the bytes of
// both in one stream. Therefore the package uses byte stuffing, as HDLC does: the mark
// never occurs in data, and a hello or an acknowledgement with a nonce is recognized at
// any position. What precedes it belongs to earlier connections.
//
// The package does not interpret the data of a connection.
package vport

const (
	mark   = 0x7e // starts a control word
	escape = 0x7d // the next byte of data is XORed with flip
	flip   = 0x20

	kindHello = 'H' // client: a new connection starts here
	kindAck   = 'A' // server: the server's side of the connection starts here
	kindClose = 'C' // server: end of the server's data

	nonceSize = 16 // hexadecimal digits, which are never escaped
)

// nonce identifies one connection, in both directions.
type nonce [nonceSize]byte

// word is one control word.
type word struct {
	kind  byte
	nonce nonce
}

func (w word) bytes() []byte {
	return append([]byte{mark, w.kind}, w.nonce[:]...)
}

// stuff appends data to dst with every mark and escape replaced.
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

// decoder splits a stream into data and control words. The zero value is ready to use.
type decoder struct {
	escaped bool
	control []byte // the control word so far, without the mark; nil outside one
	data    []byte
}

// feed decodes raw and calls onData and onWord in stream order. onData must not keep
// the slice.
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
			// Discards an incomplete control word or escape.
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
