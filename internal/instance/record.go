package instance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

// Record is what setup writes down about one run of an instance, in a private file
// that neither the guest nor QEMU can write. Everything else on the host reads it. It
// may hold an API key; so may the memory of the VM, which the same processes can read.
type Record struct {
	Request Request `json:"request"`
	// Job is the user manager's job that started the VM.
	Job string `json:"job,omitempty"`
	// Restart is the job that is restarting the VM: its setup uses the request again.
	Restart string `json:"restart,omitempty"`
	// Settings are those in force.
	Settings vm.VM `json:"settings"`
	// ClaudeSettings is the text of SettingsFile=, a JSON object.
	ClaudeSettings json.RawMessage `json:"claudeSettings,omitempty"`
	// Device and Inode are the work directory's. What has its path later may be
	// another one.
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// GuestVersion is GUEST_VERSION= of the bundle.
	GuestVersion string `json:"guestVersion,omitempty"`
}

const recordSuffix = ".record"

func (p Paths) recordPath(id string) string { return p.private(id, recordSuffix[1:]) }

// maxRecord bounds in bytes what is read of a record or a request: more than
// arguments, an environment and settings can be.
const maxRecord = 16 << 20

// ReadRecord reads the record of an instance; os.ErrNotExist if it has none.
func (p Paths) ReadRecord(id string) (Record, error) {
	var r Record
	f, err := os.OpenFile(p.recordPath(id), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return r, cmp.Or(err, fmt.Errorf("%s: not a regular file", f.Name()))
	}
	return r, json.NewDecoder(io.LimitReader(f, maxRecord)).Decode(&r)
}

// WriteRecord replaces the record of an instance.
func (p Paths) WriteRecord(id string, r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := p.recordPath(id)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Recorded lists the ids of the instances that have a record: those that run, are
// about to, or are being restarted.
func (p Paths) Recorded() []string {
	entries, _ := os.ReadDir(p.instances())
	var ids []string
	for _, entry := range entries {
		id, found := strings.CutSuffix(entry.Name(), recordSuffix)
		if found && id != "" && id[0] == '.' {
			ids = append(ids, id[1:])
		}
	}
	return ids
}

// IsSetUp reports whether setup has run for a start by this job; an empty one is none.
func (p Paths) IsSetUp(id, job string) bool {
	r, err := p.ReadRecord(id)
	return err == nil && job != "" && r.Job == job
}

// AgentLink is the link in the share directory that is there if the instance may use
// an SSH agent; see claude-vm-ssh-agent@.service.
const AgentLink = "ssh-agent"

// MakeRun creates from scratch what belongs to one run of an instance: the record,
// the runtime directory, and the directory of links to what it shares, by name.
func (p Paths) MakeRun(id string, r Record, shares map[string]string) error {
	if err := p.RemoveRun(id); err != nil {
		return err
	}
	for _, dir := range []string{p.RuntimeDirectory(id), p.ShareDirectory(id)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for name, path := range shares {
		if err := os.Symlink(path, filepath.Join(p.ShareDirectory(id), name)); err != nil {
			return err
		}
	}
	if r.Request.AuthSocket != "" {
		if err := os.Symlink(r.Request.AuthSocket, filepath.Join(p.ShareDirectory(id), AgentLink)); err != nil {
			return err
		}
	}
	return p.WriteRecord(id, r)
}

// RemoveRun removes what MakeRun has created.
func (p Paths) RemoveRun(id string) error {
	return errors.Join(os.RemoveAll(p.recordPath(id)), p.removeDirectories(id))
}

func (p Paths) removeDirectories(id string) error {
	return errors.Join(os.RemoveAll(p.ShareDirectory(id)), os.RemoveAll(p.RuntimeDirectory(id)))
}

// KeepRecord removes what MakeRun has created but for the record, of which the same
// job of a restart will use the request again.
func (p Paths) KeepRecord(id, job string) error {
	r, err := p.ReadRecord(id)
	if errors.Is(err, os.ErrNotExist) {
		return p.removeDirectories(id) // it never started
	}
	if err != nil {
		return errors.Join(err, p.RemoveRun(id))
	}
	r.Job, r.Restart = "", job
	r.Request.Attached = false // nobody attaches to it again
	r.Request.By = restartedBy(r.Request.By)
	return errors.Join(p.WriteRecord(id, r), p.removeDirectories(id))
}

// KeptRequest returns the request that was kept for a job, if there is one. A restart
// that was cancelled leaves one that no job may use.
func (p Paths) KeptRequest(id, job string) (*Request, error) {
	r, err := p.ReadRecord(id)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case job == "" || r.Restart != job:
		return nil, nil
	}
	return &r.Request, nil
}

// restartedBy is who started what systemd starts again.
func restartedBy(by string) string {
	const systemd = ", restarted by systemd"
	if by == "" || strings.HasSuffix(by, systemd) {
		return by
	}
	return by + systemd
}
