package guest

import (
	"encoding/json"
	"io"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/crypto/ssh"
)

const (
	// reportTimeout is how long the guest may take to answer a report.
	reportTimeout = 10 * time.Second
	// maxReplies limits the replies on one channel in bytes; each has about 20.
	maxReplies = 1 << 20
)

// Changes is a channel on which changes of files in the share are reported to the guest.
type Changes struct {
	client *Client
	to     *json.Encoder
	from   *json.Decoder
}

// OpenChanges opens a channel for changes.
func (c *Client) OpenChanges() (*Changes, error) {
	ch, requests, err := c.OpenChannel(contract.ChangesChannel, nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	return &Changes{c, json.NewEncoder(ch), json.NewDecoder(io.LimitReader(ch, maxReplies))}, nil
}

// Report reports changes, and returns whether a program in the guest watches files of the share. If
// it fails, the connection cannot be used any more.
func (c *Changes) Report(changes []contract.Change) (watched bool, err error) {
	defer time.AfterFunc(reportTimeout, func() { c.client.Close() }).Stop()
	if err := c.to.Encode(contract.Changes{Changes: changes}); err != nil {
		return false, err
	}
	var reply contract.ChangesReply
	err = c.from.Decode(&reply)
	return reply.Watched, err
}
