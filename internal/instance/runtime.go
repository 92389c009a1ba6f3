package instance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/sys/unix"
)

// MakeRuntimeDirectory makes what an instance has in the runtime directory
// afresh: its own, with the request that it starts with, and that of the links
// to what it shares, by name; and, if the request has a socket, the link to that
// of an SSH agent. It is for a start by a job of the user manager.
func (p Paths) MakeRuntimeDirectory(id, job string, shares map[string]string, r contract.Request) error {
	if err := p.RemoveRuntimeDirectory(id); err != nil {
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
	if r.AuthSocket != "" {
		if err := os.Symlink(r.AuthSocket, p.agentPath(id)); err != nil {
			return err
		}
	}
	if err := WriteRequest(p.RuntimeDirectory(id), r); err != nil {
		return err
	}
	return os.WriteFile(p.jobPath(id), []byte(job), 0o600)
}

// RemoveRuntimeDirectory removes what MakeRuntimeDirectory has made.
func (p Paths) RemoveRuntimeDirectory(id string) error {
	return errors.Join(os.RemoveAll(p.jobPath(id)), os.RemoveAll(p.agentPath(id)),
		os.RemoveAll(p.ShareDirectory(id)), os.RemoveAll(p.RuntimeDirectory(id)))
}

// agentPath is where claude-vm-ssh-agent@.service looks.
func (p Paths) agentPath(id string) string { return p.private(id, "ssh-agent") }

// AuthSocket gives the socket of the SSH agent that an instance may use; empty if
// it may use none.
func (p Paths) AuthSocket(id string) (string, error) {
	socket, err := os.Readlink(p.agentPath(id))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return socket, err
}

func (p Paths) jobPath(id string) string { return p.private(id, "job") }

// IsSetUp says whether the runtime directory has been made for a start by this
// job, which is none if it is empty.
func (p Paths) IsSetUp(id, job string) bool {
	text, err := os.ReadFile(p.jobPath(id))
	return err == nil && job != "" && string(text) == job
}

// SetUp lists the ids of the instances that have a runtime directory: those that
// run, or are about to.
func (p Paths) SetUp() []string {
	entries, _ := os.ReadDir(p.instances())
	var ids []string
	for _, entry := range entries {
		if id := entry.Name(); entry.IsDir() && exists(p.jobPath(id)) {
			ids = append(ids, id)
		}
	}
	return ids
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// kept is a request that waits for the second half of a restart.
type kept struct {
	Job     string           `json:"job"`
	Request contract.Request `json:"request"`
}

func (p Paths) keptPath(id string) string { return p.private(id, "restart") }

// KeepRequest keeps the request of an instance that is being restarted by a job
// of the user manager: the same job will take it up.
func (p Paths) KeepRequest(id, job string) error {
	r, err := ReadRequest(p.RuntimeDirectory(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil // it never started
	}
	if err != nil {
		return err
	}
	// Never what the runtime directory says: a guest could have any socket opened.
	if r.AuthSocket, err = p.AuthSocket(id); err != nil {
		return err
	}
	text, err := json.Marshal(kept{Job: job, Request: r})
	if err != nil {
		return err
	}
	return os.WriteFile(p.keptPath(id), text, 0o600)
}

// DropKept removes what KeepRequest has kept, if anything.
func (p Paths) DropKept(id string) error { return os.RemoveAll(p.keptPath(id)) }

// TakeKept gives the request that was kept, if any, to the job that it was kept
// for. A restart that was called off has left one that nobody may have.
func (p Paths) TakeKept(id, job string) (*contract.Request, error) {
	text, err := os.ReadFile(p.keptPath(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := os.Remove(p.keptPath(id)); err != nil {
		return nil, err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	if job == "" || job != k.Job {
		return nil, nil
	}
	return &k.Request, nil
}

// maxRequest bounds, in bytes, what is read of a request: more than arguments, an
// environment and settings can be.
const maxRequest = 16 << 20

// ReadRequest reads the request in a runtime directory. A guest that has taken QEMU
// over can put there what it likes.
func ReadRequest(dir string) (contract.Request, error) {
	var r contract.Request
	f, err := os.OpenFile(filepath.Join(dir, contract.RequestFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return r, cmp.Or(err, fmt.Errorf("%s: not a file", f.Name()))
	}
	return r, json.NewDecoder(io.LimitReader(f, maxRequest)).Decode(&r)
}

// WriteRequest replaces the request in a runtime directory. It may hold an API
// key; so may the memory of the VM, which the same processes can read.
func WriteRequest(dir string, r contract.Request) error {
	r.AuthSocket = "" // it is not asked for here
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, contract.RequestFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
