package guest

import (
	"fmt"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// ProvideAgent makes the connection the guest's way to the SSH agent at socket, a
// path, for Claude and all shells.
func (c *Client) ProvideAgent(socket string) error {
	if err := agent.ForwardToRemote(c.Client, socket); err != nil {
		return err
	}
	s, err := c.Open("", nil)
	if err != nil {
		return err
	}
	if err := s.ask("subsystem", ssh.Marshal(struct{ Name string }{contract.AgentSubsystem})); err != nil {
		s.Close()
		return fmt.Errorf("SSH agent: %w", err)
	}
	return nil
}

// ForwardAgent leads from the session alone to the SSH agent at socket, a path. It
// comes before the session's command.
func (s *Session) ForwardAgent(c *Client, socket string) error {
	if err := agent.ForwardToRemote(c.Client, socket); err != nil {
		return err
	}
	return s.ask("auth-agent-req@openssh.com", nil)
}

// Setenv sets a variable of the session's command, which it comes before.
func (s *Session) Setenv(name, value string) error {
	_, err := s.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, value}))
	return err
}
