package instance

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"golang.org/x/sys/unix"
)

// Request is what the caller of one start asks for. It is not sent to the guest;
// contract.Begin contains copies of the fields that the guest needs.
type Request struct {
	contract.Session
	// Overrides identifies the drop-ins with the overrides of this start.
	Overrides string `json:"overrides,omitempty"`
	// AuthSocket is the caller's $SSH_AUTH_SOCK.
	AuthSocket string `json:"authSocket,omitempty"`
	// By describes who started the VM, for display; empty for systemd.
	By string `json:"by,omitempty"`
}

// ErrStarting is returned while another process is starting the instance.
var ErrStarting = errors.New("another process is starting this VM")

// Offer is a request that waits for the instance's setup unit. It is valid while the
// process that created it keeps it open and locked, so the request of a process that was
// killed is not used for a later start.
type Offer struct{ file *os.File }

func (p Paths) offerPath(id string) string { return p.private(id, "request") }

// Offer creates the file of an offer, still without a request, and locks it. Until the offer
// is withdrawn, other calls for this instance return ErrStarting.
func (p Paths) Offer(id string) (*Offer, error) {
	path := p.offerPath(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrStarting
		}
		return nil, err
	}
	if removed(f) { // by the process that held the lock until now
		f.Close()
		return nil, ErrStarting
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	return &Offer{file: f}, nil
}

// Fill writes the request. If setup reads the offer before that, it uses the request of
// "systemctl start"; see Offered.Take.
func (o *Offer) Fill(r Request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = o.file.Write(text)
	return err
}

// Taken reports whether setup has read this request.
func (o *Offer) Taken() bool { return removed(o.file) }

// removed reports whether an open file was unlinked. It does not check the name, which
// may already belong to the offer of another process.
func removed(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

// Withdraw closes the offer and removes its file unless it was taken.
func (o *Offer) Withdraw() {
	if !o.Taken() {
		os.Remove(o.file.Name())
	}
	o.file.Close()
}

// Refusal returns the reason why the setup unit has refused the start; nil if it has not.
func (o *Offer) Refusal() *failure.Error {
	var a answer
	if err := json.NewDecoder(io.NewSectionReader(o.file, 0, maxRecord)).Decode(&a); err != nil {
		return nil // the file is empty
	}
	return a.Refusal
}

// answer replaces the request if the setup unit refuses the start.
type answer struct {
	Refusal *failure.Error `json:"refusal"`
}

// Offered is the setup unit's side of an offer. The zero value means that there is no
// offer.
type Offered struct{ file *os.File }

// OpenOffer opens the offer for this start, if there is one, and removes a stale one.
func (p Paths) OpenOffer(id string) (Offered, error) {
	f, err := os.OpenFile(p.offerPath(id), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Offered{}, nil
	}
	if err != nil {
		return Offered{}, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil { // unlocked: its process was killed
		f.Close()
		return Offered{}, os.Remove(f.Name())
	}
	return Offered{f}, nil
}

// Take returns the request of the offer, and removes the offer's file. If there is no offer
// or it has no request yet, Take returns the request of "systemctl start": Claude has a
// terminal, to which a client may attach later.
func (o Offered) Take() (Request, error) {
	standard := Request{Session: contract.Session{Terminal: true}}
	if o.file == nil {
		return standard, nil
	}
	var r Request
	switch err := json.NewDecoder(o.file).Decode(&r); {
	case errors.Is(err, io.EOF):
		return standard, nil // not filled yet
	case err != nil:
		return standard, err
	}
	return r, os.Remove(o.file.Name())
}

// Refuse reports to the process that made the offer why the start has failed.
func (o Offered) Refuse(why *failure.Error) error {
	if o.file == nil {
		return nil
	}
	text, err := json.Marshal(answer{why})
	if err == nil {
		err = o.file.Truncate(0)
	}
	if err == nil {
		_, err = o.file.WriteAt(text, 0)
	}
	return err
}

// Close closes the offer on the setup unit's side.
func (o Offered) Close() {
	if o.file != nil {
		o.file.Close()
	}
}

// IsPassed reports whether a variable is passed from the caller's environment to Claude:
// Claude Code's own variables and variables for the terminal and the language are, unless
// they refer to something that only the host has.
func IsPassed(name, value string) bool {
	switch name {
	case "TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "NO_COLOR", "LANG":
		return true
	case "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN": // may start with a slash
		return true
	case "TZ":
		return !isHostPath(strings.TrimPrefix(value, ":"))
	}
	return strings.HasPrefix(name, "LC_") || (strings.HasPrefix(name, "ANTHROPIC_") || strings.HasPrefix(name, "CLAUDE_CODE_")) &&
		!isHostPath(value) && !slices.ContainsFunc(hostSuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// hostSuffixes are the ends of names of variables for sockets, ports and descriptors of the
// host, such as ANTHROPIC_UNIX_SOCKET, CLAUDE_CODE_SSE_PORT (of an editor) and
// CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR, and for relative paths.
var hostSuffixes = []string{"_SOCKET", "_PORT", "_FILE_DESCRIPTOR", "_PATH", "_DIR", "_TMPDIR", "_FILE", "_SHELL"}

// isHostPath reports whether a value is a path.
func isHostPath(value string) bool {
	for _, prefix := range []string{"/", "~/", "./", "../", "file:", "unix:"} {
		if strings.HasPrefix(value, prefix) {
			return true
		}
	}
	return false
}
