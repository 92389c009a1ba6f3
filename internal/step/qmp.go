package step

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/unixsocket"
)

// monitor is a connection to QEMU's monitor, see the QEMU QMP Reference Manual.
type monitor struct {
	conn    net.Conn
	replies *json.Decoder
	release func() bool
}

// openMonitor connects to the monitor of the QEMU whose runtime directory is the working directory.
// When ctx is done, the connection is closed.
func openMonitor(ctx context.Context) (*monitor, error) {
	conn, err := unixsocket.Dial(ctx, ".", contract.QMPSocket)
	if err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, replies: json.NewDecoder(conn)}
	m.release = context.AfterFunc(ctx, func() { conn.Close() })
	_, err = m.reply("greeting")
	if err == nil {
		err = m.run("qmp_capabilities", nil, nil)
	}
	if err != nil {
		m.Close()
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	return m, nil
}

func (m *monitor) Close() error {
	m.release()
	return m.conn.Close()
}

// run executes a command, and stores what it returns in result unless that is nil.
func (m *monitor) run(command string, arguments, result any) error {
	request := struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return fmt.Errorf("QEMU monitor: %s: %w", command, err)
	}
	text, err := m.reply(command)
	if err == nil && result != nil {
		err = json.Unmarshal(text, result)
	}
	return err
}

// reply reads the greeting or the reply to a command. It skips events.
func (m *monitor) reply(command string) (json.RawMessage, error) {
	for {
		var r struct {
			QMP    json.RawMessage
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.replies.Decode(&r); err != nil {
			return nil, fmt.Errorf("QEMU monitor: %s: %w", command, err)
		}
		if r.Error != nil {
			return nil, fmt.Errorf("QEMU monitor: %s: %s", command, r.Error.Desc)
		}
		if r.QMP != nil || r.Return != nil {
			return r.Return, nil
		}
	}
}
