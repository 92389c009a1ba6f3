package instance

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"golang.org/x/sys/unix"
)

// Request is what the caller of one start asks for. It is the host's alone: what the
// guest is to know is copied into contract.Begin.
type Request struct {
	contract.Session
	// Overrides is the token of the options of this start, which are drop-ins.
	Overrides string `json:"overrides,omitempty"`
	// AuthSocket is the caller's $SSH_AUTH_SOCK.
	AuthSocket string `json:"authSocket,omitempty"`
	// By is who started the VM, for people; empty if systemd did.
	By string `json:"by,omitempty"`
}

// ErrStarting says that somebody else is starting the instance right now.
var ErrStarting = errors.New("somebody else is starting this VM")

// Offer is a request that waits for the instance's setup unit. It is valid
// while its maker holds it open: one that was killed leaves no request behind
// for the next start to take up.
type Offer struct{ file *os.File }

func (p Paths) offerPath(id string) string { return p.private(id, "request") }

// Offer begins a start of an instance: nobody else can until it is withdrawn.
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
	if removed(f) { // by the one who had it until now
		f.Close()
		return nil, ErrStarting
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	return &Offer{file: f}, nil
}

// Fill leaves the request. Until then a start is somebody else's, and plain.
func (o *Offer) Fill(r Request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = o.file.Write(text)
	return err
}

// Taken says whether the instance has started with this request.
func (o *Offer) Taken() bool { return removed(o.file) }

// removed says whether an open file has no name any more. The name alone could
// be that of somebody else's offer by now.
func removed(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

// Withdraw ends the offer, taken or not.
func (o *Offer) Withdraw() {
	if !o.Taken() {
		os.Remove(o.file.Name())
	}
	o.file.Close()
}

// Refusal returns why the setup unit has refused the start; nil if it has not.
func (o *Offer) Refusal() *failure.Error {
	var a answer
	if err := json.NewDecoder(io.NewSectionReader(o.file, 0, maxRecord)).Decode(&a); err != nil {
		return nil // no request, and no answer
	}
	return a.Refusal
}

// answer is what the setup unit writes in place of the request.
type answer struct {
	Refusal *failure.Error `json:"refusal"`
}

// Offered is the setup unit's end of an offer, or of none.
type Offered struct{ file *os.File }

// OpenOffer opens the offer for this start, if there is one.
func (p Paths) OpenOffer(id string) (Offered, error) {
	f, err := os.OpenFile(p.offerPath(id), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Offered{}, nil
	}
	if err != nil {
		return Offered{}, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil { // its maker was killed
		f.Close()
		return Offered{}, os.Remove(f.Name())
	}
	return Offered{f}, nil
}

// Take returns the request of the offer. Without one, it is what systemctl start
// means: Claude on a terminal, to which somebody attaches later.
func (o Offered) Take() (Request, error) {
	plain := Request{Session: contract.Session{Terminal: true}}
	if o.file == nil {
		return plain, nil
	}
	var r Request
	switch err := json.NewDecoder(o.file).Decode(&r); {
	case errors.Is(err, io.EOF):
		return plain, nil // not filled yet
	case err != nil:
		return plain, err
	}
	return r, os.Remove(o.file.Name())
}

// Refuse answers the offer's maker that the start has failed.
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

// Close ends the use of the offer by the setup unit.
func (o Offered) Close() {
	if o.file != nil {
		o.file.Close()
	}
}

// HandedIn reports which variables of the caller's environment Claude gets: those
// of its own and those that describe the terminal.
func HandedIn(name string) bool {
	switch name {
	case "TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "NO_COLOR", "TZ":
		return true
	case "CLAUDE_CODE_TMPDIR", "CLAUDE_CODE_SHELL": // paths of the host
		return false
	}
	return strings.HasPrefix(name, "ANTHROPIC_") || strings.HasPrefix(name, "CLAUDE_CODE_")
}
