//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
)

// echo connects over the first free port and runs one command.
func echo(t *testing.T, runtime, word string) error {
	ctx, cancel := guest.WithTimeout(t.Context())
	defer cancel()
	c, err := guest.Dial(ctx, runtime, contract.UserClaude)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Open("", nil)
	if err != nil {
		return err
	}
	if err := s.Run("echo " + word); err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	status, err := s.Copy(nil, &stdout, &stderr)
	if err != nil || status != 0 || stdout.String() != word+"\n" || stderr.Len() > 0 {
		return fmt.Errorf("status %d, error %v, stdout %q, stderr %q", status, err, stdout.String(), stderr.String())
	}
	return nil
}
