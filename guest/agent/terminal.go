package main

import (
	"io"
	"sync"
	"time"

	"github.com/creack/pty"
)

const (
	// maxEarly limits the output, in bytes, that is kept for the client that starts
	// an instance and attaches a moment later.
	maxEarly = 1 << 20
	// maxQueue limits the output, in bytes, that is queued for a viewer. If all
	// viewers exceed it, Claude's output is paused; if only some do, they get a redraw
	// instead of their queue.
	maxQueue = 256 << 10
	// flushTimeout limits how long viewers may take to receive the final output.
	flushTimeout = 5 * time.Second
)

// terminal is Claude's pseudo-terminal and its viewers.
type terminal struct {
	process *process

	mu      sync.Mutex
	changed *sync.Cond // signals changes of queues, viewers and ended
	screen  *screen
	size    pty.Winsize
	viewers map[*viewer]bool
	early   []byte // output since the start; nil once a viewer has it or it exceeds maxEarly
	ended   bool   // there will be no more output
}

// viewer is one attached client.
type viewer struct {
	client *client
	queue  []byte
	behind bool // its queue was dropped: it needs a redraw
}

// newTerminal reads the output of a process that has just been started. If keep is set,
// all output is kept for the first viewer, which gets it unchanged instead of a redraw.
func newTerminal(p *process, size *pty.Winsize, keep bool) *terminal {
	t := &terminal{process: p, size: *size, viewers: map[*viewer]bool{}}
	t.changed = sync.NewCond(&t.mu)
	if keep {
		t.early = []byte{}
	}
	t.screen = newScreen(int(size.Cols), int(size.Rows), t.answer)
	go func() {
		p.drain(p.term, t.show)
		<-p.exited
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ended = true
		t.changed.Broadcast()
	}()
	return t
}

// lastLines returns the end of the text on the screen.
func (t *terminal) lastLines(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.lastLines(n)
}

// answer replies to the program's queries about its terminal, but only while no viewer is
// attached or expected: a viewer's terminal receives the queries and replies itself.
func (t *terminal) answer(reply []byte) {
	t.mu.Lock()
	unattended := len(t.viewers) == 0 && t.early == nil
	t.mu.Unlock()
	if unattended {
		t.process.term.Write(reply)
	}
}

// show queues output for all viewers. It blocks while all of them lag behind, so that
// Claude does not write faster than the fastest viewer reads.
func (t *terminal) show(out []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.screen.write(out)
	if t.early != nil {
		if t.early = append(t.early, out...); len(t.early) > maxEarly {
			t.early = nil
		}
	}
	for v := range t.viewers {
		if len(v.queue) > maxQueue {
			v.queue, v.behind = nil, true
		}
		if !v.behind {
			v.queue = append(v.queue, out...)
		}
	}
	t.changed.Broadcast()
	for t.allLag() {
		t.changed.Wait()
	}
}

// allLag reports whether there are viewers and none of them keeps up with the output.
func (t *terminal) allLag() bool {
	for v := range t.viewers {
		if len(v.queue) <= maxQueue && !v.behind {
			return false
		}
	}
	return len(t.viewers) > 0
}

// attach connects a client to the terminal until the process exits or the client
// detaches.
func (t *terminal) attach(c *client) {
	v := &viewer{client: c}
	t.mu.Lock()
	if t.early != nil {
		v.queue, t.early = t.early, nil
	} else {
		v.behind = true
	}
	t.viewers[v] = true
	t.fit()
	t.changed.Broadcast()
	t.mu.Unlock()

	go io.Copy(t.process.term, c)
	go t.follow(v)
	t.feed(v)

	t.mu.Lock()
	ended := t.ended
	t.mu.Unlock()
	if ended {
		<-t.process.exited
		c.exit(t.process.status)
		<-c.gone
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.viewers, v)
	t.fit()
	t.changed.Broadcast()
}

// follow applies a viewer's sizes and signals, and removes the viewer when it detaches.
func (t *terminal) follow(v *viewer) {
	for {
		select {
		case size := <-v.client.resize:
			t.mu.Lock()
			v.client.size = &size
			t.fit()
			t.mu.Unlock()
		case sig := <-v.client.signals:
			t.process.signal(sig)
		case <-v.client.gone:
			t.mu.Lock()
			delete(t.viewers, v)
			t.fit()
			t.changed.Broadcast()
			t.mu.Unlock()
			return
		}
	}
}

// feed sends a viewer its queue until the viewer detaches or the final output is sent.
func (t *terminal) feed(v *viewer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.viewers[v] {
		switch {
		case v.behind:
			v.behind = false
			var b appender
			t.screen.redraw(&b)
			v.queue = b
		case len(v.queue) > 0:
			out := v.queue
			v.queue = nil
			t.changed.Broadcast()
			t.mu.Unlock()
			_, err := v.client.Write(out)
			t.mu.Lock()
			if err != nil {
				return
			}
		case t.ended:
			return
		default:
			t.changed.Wait()
		}
	}
}

// fit sets the terminal to the largest size that fits all viewers.
func (t *terminal) fit() {
	var size pty.Winsize
	for v := range t.viewers {
		s := v.client.size
		if s == nil || s.Rows == 0 || s.Cols == 0 {
			continue
		}
		if size.Rows == 0 || s.Rows < size.Rows {
			size.Rows = s.Rows
		}
		if size.Cols == 0 || s.Cols < size.Cols {
			size.Cols = s.Cols
		}
	}
	if size.Rows == 0 || size == t.size {
		return
	}
	t.size = size
	t.screen.resize(int(size.Cols), int(size.Rows))
	pty.Setsize(t.process.term, &size)
}

// flush waits until the viewers have received the final output. After flushTimeout it
// detaches those that have not.
func (t *terminal) flush() {
	timeout := time.AfterFunc(flushTimeout, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		clear(t.viewers)
		t.changed.Broadcast()
	})
	defer timeout.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.ended || len(t.viewers) > 0 {
		t.changed.Wait()
	}
}

// appender is an io.Writer that appends to itself.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}
