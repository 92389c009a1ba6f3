package vport

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// helloInterval is how long to wait for an answer before sending another hello. The
// guest's kernel discards bytes that arrive while no program has the port open, so one
// hello is not enough.
const helloInterval = 500 * time.Millisecond

// Client opens a connection over raw, the host's end of a port, and waits until the guest
// has acknowledged it or ctx is done. Closing the connection closes raw; if Client fails,
// it closes raw itself.
func Client(ctx context.Context, raw net.Conn) (net.Conn, error) {
	c := &clientConn{Conn: raw}
	if err := c.hello(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

type clientConn struct {
	net.Conn
	nonce   nonce
	decoder decoder
	acked   bool
	closed  bool   // the server has closed its side
	pending []byte // decoded, not yet read
	out     []byte // buffer of Write, reused
}

func (c *clientConn) hello(ctx context.Context) error {
	var seed [nonceSize / 2]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return err
	}
	hex.Encode(c.nonce[:], seed[:])
	stop := context.AfterFunc(ctx, func() { c.Conn.SetDeadline(time.Now()) })
	defer stop()
	for !c.acked {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("the guest does not answer: %w", context.Cause(ctx))
		}
		c.Conn.SetDeadline(time.Now().Add(helloInterval))
		_, err := c.Conn.Write(word{kindHello, c.nonce}.bytes())
		for err == nil && !c.acked {
			err = c.fill()
		}
		var timeout net.Error
		if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
			return fmt.Errorf("connect to the guest: %w", err)
		}
	}
	stop()
	return c.Conn.SetDeadline(time.Time{})
}

// fill reads once and decodes what it has read.
func (c *clientConn) fill() error {
	buf := make([]byte, 32<<10)
	n, err := c.Conn.Read(buf)
	c.decoder.feed(buf[:n], func(data []byte) {
		if c.acked && !c.closed {
			c.pending = append(c.pending, data...)
		}
	}, func(w word) {
		if w.nonce != c.nonce {
			return
		}
		c.acked = c.acked || w.kind == kindAck
		c.closed = c.closed || w.kind == kindClose
	})
	return err
}

func (c *clientConn) Read(p []byte) (int, error) {
	for len(c.pending) == 0 {
		if c.closed {
			return 0, io.EOF
		}
		if err := c.fill(); err != nil && len(c.pending) == 0 {
			return 0, err
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

func (c *clientConn) Write(p []byte) (int, error) {
	c.out = stuff(c.out[:0], p)
	if _, err := c.Conn.Write(c.out); err != nil {
		return 0, err
	}
	return len(p), nil
}
