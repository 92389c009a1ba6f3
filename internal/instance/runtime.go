package instance

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
)

// MakeRuntimeDirectory makes what an instance has in the runtime directory
// afresh: its own, with the request that it starts with, and the link to its
// work directory.
func (e Environment) MakeRuntimeDirectory(id, work string, r contract.Request) error {
	if err := e.RemoveRuntimeDirectory(id); err != nil {
		return err
	}
	if err := os.MkdirAll(e.RuntimeDirectory(id), 0o700); err != nil {
		return err
	}
	if err := os.Symlink(work, e.WorkLink(id)); err != nil {
		return err
	}
	return WriteRequest(e.RuntimeDirectory(id), r)
}

// RemoveRuntimeDirectory removes what MakeRuntimeDirectory has made.
func (e Environment) RemoveRuntimeDirectory(id string) error {
	if err := os.RemoveAll(e.WorkLink(id)); err != nil {
		return err
	}
	return os.RemoveAll(e.RuntimeDirectory(id))
}

// ReadRequest reads the request in a runtime directory.
func ReadRequest(dir string) (contract.Request, error) {
	var r contract.Request
	text, err := os.ReadFile(filepath.Join(dir, contract.RequestFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// WriteRequest replaces the request in a runtime directory. It may hold an API
// key; so may the memory of the VM, which the same processes can read.
func WriteRequest(dir string, r contract.Request) error {
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
