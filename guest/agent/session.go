package main

import (
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
)

// attachTimeout is how long a session with contract.Session.Attached waits for the client
// that started the VM to attach. The wait is limited, because the client may have been
// killed.
const attachTimeout = 30 * time.Second

// session is Claude: on a terminal that clients attach to and detach from, or on three
// pipes that belong to the client that started the instance.
type session struct {
	root    *root
	request contract.Session
	process *process
	term    *terminal // nil without a terminal

	// started is a pipe whose other end is descriptor 3 of the session script. The script
	// closes it when it executes Claude, so that a read of started returns end of file.
	started *os.File

	once    sync.Once
	claimed chan struct{} // closed by the first call of claim
	flushed chan struct{} // closed when all output of the pipes is delivered
}

// startSession starts Claude in a root directory, as request and the settings specify.
func startSession(r *root, request contract.Session, settings []byte) (*session, error) {
	started, mark, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer mark.Close()
	s := &session{root: r, request: request, started: started, claimed: make(chan struct{}), flushed: make(chan struct{})}
	var size *pty.Winsize
	if request.Terminal {
		windowSize := windowSize(uint32(request.Columns), uint32(request.Rows))
		size = &windowSize
	}
	err = r.do(func() error {
		cmd, err := sessionCommand(r, request, settings)
		if err != nil {
			return err
		}
		cmd.ExtraFiles = []*os.File{mark} // descriptor 3
		s.process, err = start(cmd, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	if size != nil {
		s.term = newTerminal(s.process, size, request.Attached)
		return s, nil
	}
	if !request.Attached {
		s.toJournal()
		return s, nil
	}
	go func() {
		select {
		case <-s.claimed:
		case <-time.After(attachTimeout):
			log.Print("no client attached: Claude's output goes to the journal")
			s.toJournal()
		}
	}()
	return s, nil
}

// sessionCommand returns the command of the session script, and prepares the home for it.
func sessionCommand(r *root, request contract.Session, settings []byte) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := []string{filepath.Join(filepath.Dir(self), "session"), "", "claude"}
	if r != nil { // the image may lack the shell, and has another path of claude
		argv = []string{toolsDir + "/bash", inImage(argv[0]), "", toolsDir + "/claude"}
	}
	warnings := &argv[len(argv)-2]
	cmd, err := newCommand(r, contract.UserClaude, argv, request.Environment)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, "DISABLE_AUTOUPDATER=1") // Claude Code is part of the read-only image
	if len(request.Arguments) > 0 && request.Arguments[0] == "setup-token" {
		// Placeholders of another login are of no use for a new one.
		cmd.Env = withoutVariables(cmd.Env, "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_BASE_URL")
	}
	env := func(name string) string { return variable(cmd.Env, name) }
	h := home{dir: env("HOME")}
	if err := r.as(cmd.SysProcAttr.Credential, func() {
		work, err := filepath.EvalSymlinks(workDir)
		if err != nil {
			work = workDir
		}
		h.prepare(work, settings, env)
	}); err != nil {
		return nil, err
	}
	*warnings = h.warnings.String()
	cmd.Args = append(argv, request.Arguments...)
	return cmd, nil
}

// startTimeout is how long waitStarted waits for the session script to execute Claude.
// After that, Claude is reported as running anyway.
const startTimeout = 30 * time.Second

// waitStarted returns when Claude itself, not only the session script, has started or
// has already exited.
func (s *session) waitStarted() {
	defer s.started.Close()
	s.started.SetReadDeadline(time.Now().Add(startTimeout))
	s.started.Read(make([]byte, 1)) // nothing is written: wait for the end of file
}

// toJournal closes Claude's standard input and copies its output to the guest's journal.
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
		close(s.flushed)
	}()
}

// claim must be called before a client attaches. It reports whether the client may attach:
// all clients may attach to a terminal, but only the first one to pipes.
func (s *session) claim() bool {
	first := false
	s.once.Do(func() {
		first = true
		close(s.claimed)
	})
	return first || s.term != nil
}

// attach connects a client to Claude until Claude exits or the client detaches. The
// caller must have called claim.
func (s *session) attach(c *client) {
	if s.term != nil {
		s.term.attach(c)
		return
	}
	c.serve(s.process)
	<-c.gone // the client has received all output, or never will
	close(s.flushed)
}

// wait waits for Claude to exit and returns its exit status.
func (s *session) wait() int {
	<-s.process.exited
	return s.process.status
}

// logScreen writes the end of the screen to the journal: why Claude Code has failed is there, and
// perhaps nobody is attached.
func (s *session) logScreen() {
	const lines = 8 // Claude Code's messages are shorter
	if s.term == nil {
		return
	}
	for _, line := range s.term.lastLines(lines) {
		log.Printf("screen: %s", line)
	}
}

// flush waits until the final output is delivered to all attached clients, and before that
// for the client that started the VM, which may attach only after Claude has exited.
func (s *session) flush() {
	if s.request.Attached {
		select {
		case <-s.claimed:
		case <-time.After(attachTimeout):
		}
	}
	if s.term != nil {
		s.term.flush()
		return
	}
	<-s.flushed
}
