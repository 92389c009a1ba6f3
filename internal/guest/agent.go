package guest

import (
	"fmt"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// ProvideAgent forwards the SSH agent that listens at the path socket to Claude and all
// shells in the guest, as long as the connection exists.
func (c *Client) ProvideAgent(socket string) error {
	if err := agent.ForwardToRemote(c.Client, socket); err != nil {
		return err
	}
	s, err := c.Open("", nil)
	if err != nil {
		return err
	}
	if err := s.request("subsystem", ssh.Marshal(struct{ Name string }{contract.AgentSubsystem})); err != nil {
		s.Close()
		return fmt.Errorf("SSH agent: %w", err)
	}
	return nil
}

// ForwardAgent forwards the SSH agent that listens at the path socket to this session
// only. Call it before the session's command is started.
func (s *Session) ForwardAgent(c *Client, socket string) error {
	if err := agent.ForwardToRemote(c.Client, socket); err != nil {
		return err
	}
	return s.request("auth-agent-req@openssh.com", nil)
}

// Setenv sets an environment variable of the session's command. Call it before the
// command is started.
func (s *Session) Setenv(name, value string) error {
	_, err := s.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, value}))
	return err
}
