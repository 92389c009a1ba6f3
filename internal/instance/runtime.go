package instance

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
)

// MakeRuntimeDirectory makes an instance's runtime directory afresh: the link
// to its work directory and the request that it starts with.
func MakeRuntimeDirectory(dir, work string, r contract.Request) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(work, filepath.Join(dir, contract.WorkLink)); err != nil {
		return err
	}
	return WriteRequest(dir, r)
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
