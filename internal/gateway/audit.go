package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"golang.org/x/time/rate"
)

const (
	// The journal gets at most this many decisions per second, and this many at once.
	logRate, logBurst = 20, 200
	// maxDenied is the number of denied targets that are remembered.
	maxDenied = 100
)

// Values of control.Event.Decision.
const (
	allowed = "allowed"
	denied  = "denied"
	failed  = "failed"
	asked   = "asked"
)

// audit reports the decisions: to the journal, to the clients of the control socket, and in
// the list of what was denied lately.
type audit struct {
	mu        sync.Mutex
	limit     *rate.Limiter
	left      int // decisions that are not in the journal
	denied    map[string]*control.Denied
	listeners map[chan control.Event]bool
	// lines are written by a goroutine: journald may be slow, and connections do not wait.
	lines chan line
	idle  chan struct{} // closed when all lines are written, after flush
}

// line is an entry of the journal.
type line struct {
	priority journal.Priority
	text     string
	fields   map[string]string
}

// maxLines is the number of lines that wait for journald.
const maxLines = 2 * logBurst

func newAudit() *audit {
	a := &audit{
		limit:  rate.NewLimiter(logRate, logBurst),
		denied: map[string]*control.Denied{}, listeners: map[chan control.Event]bool{},
		lines: make(chan line, maxLines), idle: make(chan struct{}),
	}
	go func() {
		defer close(a.idle)
		for l := range a.lines {
			l.send()
		}
	}()
	return a
}

// flush writes the lines that wait. The gateway exits afterwards.
func (a *audit) flush() {
	a.mu.Lock()
	lines := a.lines
	a.lines = nil // later lines are lost
	a.mu.Unlock()
	if lines == nil {
		return
	}
	close(lines)
	select {
	case <-a.idle:
	case <-time.After(time.Second):
	}
}

// write adds a line to the journal, if it may. The caller holds a.mu.
func (a *audit) write(l line) {
	if !a.limit.Allow() {
		a.left++
		return
	}
	if a.left > 0 {
		a.queue(line{journal.PriNotice, fmt.Sprintf("%d decisions are not in the journal", a.left), map[string]string{"CLAUDE_VM_SUPPRESSED": fmt.Sprint(a.left)}})
		a.left = 0
	}
	a.queue(l)
}

func (a *audit) queue(l line) {
	select {
	case a.lines <- l:
	default:
		a.left++
	}
}

// allowed reports a connection that is open now.
func (a *audit) allowed(q policy.Request, d policy.Decision) {
	a.report(q, control.Event{Decision: allowed, Rule: d.Rule})
}

// failed reports a connection that was denied by err, or that is allowed but failed.
func (a *audit) failed(q policy.Request, err error) {
	var refusal *deniedError
	if errors.As(err, &refusal) {
		a.deniedBy(q, refusal.Decision)
		return
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without addresses, which are in the event
	}
	a.report(q, control.Event{Decision: failed, Reason: err.Error()})
}

// deniedBy reports a connection that the policy denies.
func (a *audit) deniedBy(q policy.Request, d policy.Decision) {
	a.mu.Lock()
	key := q.String()
	if a.denied[key] == nil {
		if len(a.denied) >= maxDenied {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(a.denied)), func(x, y string) int {
				return a.denied[x].Last.Compare(a.denied[y].Last)
			})
			delete(a.denied, oldest)
		}
		a.denied[key] = &control.Denied{Target: key}
	}
	entry := a.denied[key]
	entry.Count++
	entry.Reason, entry.Last, entry.Allow = d.Reason, time.Now(), d.Allow(q)
	a.mu.Unlock()
	a.report(q, control.Event{Decision: denied, Rule: d.Rule, Reason: d.Reason})
}

// recentlyDenied returns what was denied lately, the newest last.
func (a *audit) recentlyDenied() []control.Denied {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []control.Denied{}
	for _, entry := range a.denied {
		list = append(list, *entry)
	}
	slices.SortFunc(list, func(x, y control.Denied) int {
		return cmp.Or(x.Last.Compare(y.Last), cmp.Compare(x.Target, y.Target))
	})
	return list
}

func (a *audit) report(q policy.Request, e control.Event) {
	e.Time, e.Target = time.Now(), q.String()
	if q.Address.IsValid() {
		e.Address = q.Address.String()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for listener := range a.listeners {
		select {
		case listener <- e:
		default: // a client that does not read
		}
	}
	text, priority := e.Decision+" "+e.Target, journal.PriInfo
	if q.Name != "" && e.Address != "" {
		text += " (" + e.Address + ")"
	}
	if e.Decision != allowed {
		priority = journal.PriNotice
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	fields := map[string]string{
		"CLAUDE_VM_DECISION": e.Decision, "CLAUDE_VM_PROTOCOL": q.Protocol, "CLAUDE_VM_NAME": q.Name, "CLAUDE_VM_ADDRESS": e.Address,
		"CLAUDE_VM_PORT": fmt.Sprint(q.Port), "CLAUDE_VM_RULE": e.Rule, "CLAUDE_VM_REASON": e.Reason,
	}
	maps.DeleteFunc(fields, func(_, value string) bool { return value == "" })
	a.write(line{priority, text, fields})
}

// send sends a line with its fields to the journal; without journald, as in tests, to standard
// error.
func (l line) send() {
	l.fields["SYSLOG_IDENTIFIER"] = "claude-vm-gateway"
	if journal.Send(l.text, l.priority, l.fields) != nil {
		fmt.Fprintln(os.Stderr, l.text)
	}
}

// listen returns a channel of all further events, until stop is called.
func (a *audit) listen() (events chan control.Event, stop func()) {
	events = make(chan control.Event, 64)
	a.mu.Lock()
	a.listeners[events] = true
	a.mu.Unlock()
	return events, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.listeners, events)
	}
}

// asked reports that the guest asks for a rule.
func (a *audit) asked(rule, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := control.Event{Time: time.Now(), Decision: asked, Target: rule, Reason: reason}
	for listener := range a.listeners {
		select {
		case listener <- e:
		default:
		}
	}
	a.write(line{journal.PriNotice, fmt.Sprintf("the guest asks for %s: %q", rule, reason), map[string]string{
		"CLAUDE_VM_DECISION": asked, "CLAUDE_VM_RULE": rule, "CLAUDE_VM_REASON": reason,
	}})
}
