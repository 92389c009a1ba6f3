package main

import (
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
)

// attachTimeout is how long an instance whose starter promised to attach waits
// for that: the starter may have been killed.
const attachTimeout = 30 * time.Second

// session is Claude: on a terminal that people attach to and leave, or on
// three pipes that belong to whoever started the instance.
type session struct {
	request contract.Request
	process *process
	term    *terminal // nil without a terminal

	started *os.File // ends when the session's script has come to Claude

	once  sync.Once
	taken chan struct{} // closed when somebody has attached
	told  chan struct{} // closed when the pipes' client has everything
}

// startSession starts Claude as the request says.
func startSession(r contract.Request) (*session, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := append([]string{filepath.Join(filepath.Dir(self), "session")}, r.Arguments...)
	cmd, err := command(contract.UserClaude, argv, r.Environment)
	if err != nil {
		return nil, err
	}
	started, mark, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer mark.Close()
	cmd.ExtraFiles = []*os.File{mark} // descriptor 3
	s := &session{request: r, started: started, taken: make(chan struct{}), told: make(chan struct{})}
	if r.Terminal {
		size := &pty.Winsize{Rows: uint16(r.Rows), Cols: uint16(r.Columns)}
		if size.Rows == 0 || size.Cols == 0 {
			size = &pty.Winsize{Rows: 24, Cols: 80}
		}
		if s.process, err = start(cmd, size); err != nil {
			return nil, err
		}
		s.term = newTerminal(s.process, size, r.Attached)
		return s, nil
	}
	if s.process, err = start(cmd, nil); err != nil {
		return nil, err
	}
	if !r.Attached {
		s.toJournal()
		return s, nil
	}
	go func() {
		select {
		case <-s.taken:
		case <-time.After(attachTimeout):
			log.Print("nobody came for Claude's streams")
			s.toJournal()
		}
	}()
	return s, nil
}

// startTimeout is how long the session's script may take to come to Claude, which
// has started all the same then.
const startTimeout = 30 * time.Second

// awaitStart returns when Claude itself, and not only its session, has started or
// has ended already.
func (s *session) awaitStart() {
	defer s.started.Close()
	s.started.SetReadDeadline(time.Now().Add(startTimeout))
	s.started.Read(make([]byte, 1)) // nobody writes
}

// toJournal gives Claude no input and its output to the guest's journal.
func (s *session) toJournal() {
	if !s.claim() {
		return
	}
	s.process.stdin.Close()
	var copies sync.WaitGroup
	copies.Go(func() { s.process.drain(s.process.stdout, func(b []byte) { os.Stdout.Write(b) }) })
	copies.Go(func() { s.process.drain(s.process.stderr, func(b []byte) { os.Stderr.Write(b) }) })
	go func() {
		copies.Wait()
		close(s.told)
	}()
}

// claim says whether somebody may attach: to a terminal all, to pipes the first.
func (s *session) claim() bool {
	first := false
	s.once.Do(func() {
		first = true
		close(s.taken)
	})
	return first || s.term != nil
}

// attach joins a client that has a claim to Claude until either ends.
func (s *session) attach(c *client) {
	if s.term != nil {
		s.term.attach(c)
		return
	}
	c.serve(s.process)
	<-c.gone // everything sent has been taken, or will never be
	close(s.told)
}

// wait returns Claude's exit status when it is over.
func (s *session) wait() int {
	<-s.process.exited
	return s.process.status
}

// settle returns when everybody has been told the session's last words.
func (s *session) settle() {
	if s.request.Attached {
		select {
		case <-s.taken:
		case <-time.After(attachTimeout):
		}
	}
	if s.term != nil {
		s.term.settle()
		return
	}
	<-s.told
}
