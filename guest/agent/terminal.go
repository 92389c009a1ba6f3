package main

import (
	"io"
	"sync"
	"time"

	"github.com/creack/pty"
)

const (
	// maxEarly bounds the output kept, in bytes, for the one who starts an
	// instance and attaches a moment later.
	maxEarly = 1 << 20
	// maxQueue is what a viewer may lag behind, in bytes, before Claude waits
	// for it, or, if others are faster, before it is given a redraw instead.
	maxQueue = 256 << 10
	// farewell bounds the wait for viewers to take the last output.
	farewell = 5 * time.Second
)

// terminal is Claude's pseudo-terminal and those who look at it.
type terminal struct {
	process *process

	mu      sync.Mutex
	changed *sync.Cond // a queue, the set of viewers, or over
	screen  *screen
	size    pty.Winsize
	viewers map[*viewer]bool
	early   []byte // since the start; nil once somebody has it, or too much
	over    bool   // no more output comes
}

// viewer is one attached client.
type viewer struct {
	client *client
	queue  []byte
	behind bool // its queue was dropped: it needs a redraw
}

// newTerminal follows a process that has just been started. keep says that its
// first viewer is on the way and shall have every byte as it was written.
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
		t.over = true
		t.changed.Broadcast()
	}()
	return t
}

// answer replies to the program's questions about its terminal, but only while
// there is no real one to do it.
func (t *terminal) answer(reply []byte) {
	t.mu.Lock()
	alone := len(t.viewers) == 0 && t.early == nil
	t.mu.Unlock()
	if alone {
		t.process.term.Write(reply)
	}
}

// show passes output on. It waits when all viewers lag, so that Claude is
// slowed to the pace of the fastest.
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

func (t *terminal) allLag() bool {
	for v := range t.viewers {
		if len(v.queue) <= maxQueue && !v.behind {
			return false
		}
	}
	return len(t.viewers) > 0
}

// attach shows the terminal to a client until either ends.
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
	over := t.over
	t.mu.Unlock()
	if over {
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

// follow takes a viewer's sizes and signals, and removes it when it goes.
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

// feed sends a viewer its queue until it goes, or all is over and sent.
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
		case t.over:
			return
		default:
			t.changed.Wait()
		}
	}
}

// fit gives the terminal the largest size that every viewer can show.
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

// settle waits until the viewers have the last output, for a while.
func (t *terminal) settle() {
	late := time.AfterFunc(farewell, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		clear(t.viewers)
		t.changed.Broadcast()
	})
	defer late.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.over || len(t.viewers) > 0 {
		t.changed.Wait()
	}
}

// appender is the smallest io.Writer.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}
