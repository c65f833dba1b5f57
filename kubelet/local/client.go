package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
)

// ErrNotRunning says that no loop runs on this host.
var ErrNotRunning = errors.New("the kubelet loop does not run")

// A Client asks the loop of this host. It holds no connection.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client of the socket at a path. It dials nobody yet.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}
	return c
}

// State asks for what the loop knows now. The error is ErrNotRunning where there
// is no loop.
func (c *Client) State(ctx context.Context) (*State, error) {
	var state *State
	err := c.read(ctx, statePath, func(s *State) error {
		state = s
		return errEnough
	})
	return state, err
}

// Watch calls out with what the loop knows, at once and then whenever that may
// have changed, until ctx ends, the loop does, or the callee returns an error.
func (c *Client) Watch(ctx context.Context, out func(*State) error) error {
	return c.read(ctx, watchPath, out)
}

// errEnough ends a stream without an error.
var errEnough = errors.New("enough")

func (c *Client) read(ctx context.Context, path string, out func(*State) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://loop"+path, nil)
	if err != nil {
		return fmt.Errorf("ask the loop: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the loop: it answers %s", resp.Status)
	}
	for lines := json.NewDecoder(resp.Body); ; {
		s := &State{}
		if err := lines.Decode(s); err != nil {
			return fmt.Errorf("ask the loop: %w", err)
		}
		switch err := out(s); {
		case errors.Is(err, errEnough):
			return nil
		case err != nil:
			return err
		}
	}
}

// failed tells a loop that is not there from one that does not answer.
func (c *Client) failed(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: nobody answers at %s", ErrNotRunning, c.path)
	}
	return fmt.Errorf("ask the loop: %w", err)
}
