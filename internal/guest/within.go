package guest

import (
	"context"
	"errors"
	"fmt"
)

// ErrSilent is returned by Client.Within.
var ErrSilent = errors.New("the guest does not answer")

// Within calls f, which sends requests. If the guest does not answer them until ctx is done, or for as long
// as Dial would wait, it closes the connection: the caller may have taken over the signals that would end it.
func (c *Client) Within(ctx context.Context, f func() error) error {
	ctx, cancel := WithTimeout(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	err := f()
	if !stop() && err != nil {
		return fmt.Errorf("%w: %w", ErrSilent, context.Cause(ctx))
	}
	return err
}
