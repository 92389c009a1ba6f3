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
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, contract.RequestFile), text, 0o600)
}
