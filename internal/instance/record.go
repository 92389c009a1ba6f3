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

	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/protect"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

// Record describes one run of an instance. It is in a file that neither the guest nor QEMU
// can write. Setup writes it, teardown changes it for a restart, and the other programs on
// the host read it. QEMU can read it, too: it has what the guest gets, and no secret that
// stays on the host; see Secrets.
type Record struct {
	Request Request `json:"request"`
	// Job is the id of the user manager's job that started the VM.
	Job string `json:"job,omitempty"`
	// Restart is the id of the job that is restarting the VM. The setup that runs for
	// this job uses Request again.
	Restart string `json:"restart,omitempty"`
	// Environment are the variables of Claude's environment, except Settings.Environment.
	Environment map[string]string `json:"environment,omitempty"`
	// Injected are the names of the secrets that stay on the host. The guest has placeholders.
	Injected []string `json:"injected,omitempty"`
	// LoggedOut means that Claude Code gets no token and no key.
	LoggedOut bool `json:"loggedOut,omitempty"`
	// Settings are the settings of this run.
	Settings vm.VM `json:"settings"`
	// ClaudeSettings is the content of SettingsFile=, a JSON object.
	ClaudeSettings json.RawMessage `json:"claudeSettings,omitempty"`
	// Shares are the directories and files that virtiofsd shares, the work directory first.
	Shares []Share `json:"shares"`
	// GitDirectories have linked worktrees, which the guest must keep; see contract.Begin.
	GitDirectories []string `json:"gitDirectories,omitempty"`
	// GitConfig is a configuration file for the guest's git, with the user's identity.
	GitConfig string `json:"gitConfig,omitempty"`
	// GitIgnore are the patterns of files that the user's git ignores in all repositories.
	GitIgnore string `json:"gitIgnore,omitempty"`
	// Warnings are what the user should know about this run.
	Warnings []string `json:"warnings,omitempty"`
	// Host is what the processes of the VM must not share.
	Host confine.Host `json:"host"`
	// GuestVersion and ClaudeVersion are GUEST_VERSION= and GUEST_CLAUDE= in guest.env of the
	// bundle.
	GuestVersion  string `json:"guestVersion,omitempty"`
	ClaudeVersion string `json:"claudeVersion,omitempty"`
	// Image is the container image in which Claude runs; nil for none.
	Image *image.Image `json:"image,omitempty"`
	// Snapshot is the snapshot from which the VM resumes, or which can be made of its guest.
	Snapshot *snapshot.Use `json:"snapshot,omitempty"`
}

// Share is a directory or file of the host that virtiofsd shares.
type Share struct {
	Name string `json:"name"` // at the root of the share
	Path string `json:"path"` // on the host, without symbolic links
	// Device and Inode identify it, because the path may be replaced by another directory.
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Mounts are what is protected or hidden in it.
	Mounts []protect.Mount `json:"mounts,omitempty"`
}

const recordSuffix = ".record"

func (p Paths) recordPath(id string) string { return p.private(id, recordSuffix[1:]) }

// newRecordPath is where WriteRecord writes a record before it replaces the previous one.
func (p Paths) newRecordPath(id string) string { return p.recordPath(id) + ".new" }

// maxRecord is the maximum size of a record or a request in bytes. It is larger than
// arguments, an environment and settings can be.
const maxRecord = 16 << 20

// ReadRecord returns the record of an instance. The error wraps os.ErrNotExist if there is
// none.
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
	if len(text) > maxRecord {
		return fmt.Errorf("the settings, arguments and what is protected are larger than %d MiB", maxRecord>>20)
	}
	path := p.newRecordPath(id)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return os.Rename(path, p.recordPath(id))
}

// Recorded returns the ids of the instances that have a record: they are starting,
// running or being restarted.
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

// LockRecords waits until no other process has the lock, so that the records of other instances do not
// change while one of them is compared with the others and written.
func (p Paths) LockRecords() (unlock func(), err error) {
	if err := os.MkdirAll(p.instances(), 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(p.instances())
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		dir.Close()
		return nil, &os.PathError{Op: "lock", Path: dir.Name(), Err: err}
	}
	return func() { dir.Close() }, nil
}

// IsSetUp reports whether setup has already run for this job. It is false if job is empty.
func (p Paths) IsSetUp(id, job string) bool {
	r, err := p.ReadRecord(id)
	return err == nil && job != "" && r.Job == job
}

// AgentLink is the name of a link in the share directory. It exists if the instance may
// use an SSH agent; see claude-vm-ssh-agent@.service.
const AgentLink = "ssh-agent"

// imageLink is the name of a link in the share directory to the image's file, which
// claude-vm@.service binds.
const imageLink = "image"

// snapshotLink is the name of a link in the share directory to the memory of the snapshot from which
// the VM resumes. claude-vm@.service binds it, read-only.
const snapshotLink = "snapshot"

// MakeRun creates the files of one run of an instance, in place of those of an earlier
// run: the record, the secrets, the runtime directory, the directory of the gateway, if there is
// a network, and the share directory with a link to each share.
func (p Paths) MakeRun(id string, r Record, s Secrets) error {
	if err := p.removeRun(id); err != nil {
		return err
	}
	directories := []string{p.RuntimeDirectory(id), p.ShareDirectory(id)}
	if r.Settings.Network != policy.None {
		directories = append(directories, p.GatewayDirectory(id))
	}
	if r.Settings.Scratch > 0 {
		directories = append(directories, p.scratchCondition(id))
	}
	for _, dir := range directories {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for _, s := range r.Shares {
		if err := os.Symlink(s.Path, filepath.Join(p.ShareDirectory(id), s.Name)); err != nil {
			return err
		}
	}
	if r.Image != nil {
		if err := os.Symlink(r.Image.File(), filepath.Join(p.ShareDirectory(id), imageLink)); err != nil {
			return err
		}
	}
	if r.Snapshot != nil && r.Snapshot.Resume {
		if err := os.Symlink(p.Snapshots().Memory(r.Snapshot.Key), filepath.Join(p.ShareDirectory(id), snapshotLink)); err != nil {
			return err
		}
	}
	if r.Request.AuthSocket != "" {
		if err := os.Symlink(r.Request.AuthSocket, filepath.Join(p.ShareDirectory(id), AgentLink)); err != nil {
			return err
		}
	}
	if len(s.Commands) > 0 && r.Settings.Network != policy.None {
		if err := os.Mkdir(filepath.Join(p.GatewayDirectory(id), "commands"), 0o700); err != nil { // the condition of claude-vm-secrets@
			return err
		}
	}
	// A start right after a stop finds claude-vm-console@ of the previous run still active, which
	// has the pipe open.
	if err := unix.Mkfifo(p.ConsolePipe(id), 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return &os.PathError{Op: "mkfifo", Path: p.ConsolePipe(id), Err: err}
	}
	if err := p.WriteSecrets(id, s); err != nil {
		return err
	}
	return p.WriteRecord(id, r)
}

// RemoveRun removes the files that MakeRun creates, also if it was killed, and the copy of the
// user's files.
func (p Paths) RemoveRun(id string) error {
	return errors.Join(p.removeRun(id), os.RemoveAll(p.ClaudeDirectory(id)), os.RemoveAll(p.ConsolePipe(id)))
}

func (p Paths) removeRun(id string) error {
	return errors.Join(
		os.RemoveAll(p.recordPath(id)), os.RemoveAll(p.newRecordPath(id)), os.RemoveAll(p.secretsPath(id)), p.removeDirectories(id),
	)
}

func (p Paths) removeDirectories(id string) error {
	return errors.Join(
		os.RemoveAll(p.ShareDirectory(id)), os.RemoveAll(p.GatewayDirectory(id)), os.RemoveAll(p.scratchCondition(id)), removeAll(p.RuntimeDirectory(id)),
	)
}

// KeepRecord removes the files that MakeRun creates, except record and secrets. It writes the id of
// the restart job to the record, so that setup can use the request again; see KeptRequest.
// It is the same start if the VM restarts because it cannot resume: the client still waits for it.
func (p Paths) KeepRecord(id, job string, sameStart bool) error {
	r, err := p.ReadRecord(id)
	if errors.Is(err, os.ErrNotExist) {
		return p.RemoveRun(id) // the instance was never set up
	}
	if err != nil {
		return errors.Join(err, p.RemoveRun(id))
	}
	r.Job, r.Restart = "", job
	if !sameStart {
		r.Request.Attached = false // the client of the first start does not attach again
		r.Request.By = restartedBy(r.Request.By)
	}
	return errors.Join(p.WriteRecord(id, r), p.removeDirectories(id), os.RemoveAll(p.ClaudeDirectory(id)))
}

// KeptRequest returns the request that KeepRecord has kept for a job, or nil. A request
// kept for another job is ignored: it is left over from a canceled restart.
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

// restartedBy returns the new value of Request.By after a restart.
func restartedBy(by string) string {
	const systemd = ", restarted by systemd"
	if by == "" || strings.HasSuffix(by, systemd) {
		return by
	}
	return by + systemd
}
