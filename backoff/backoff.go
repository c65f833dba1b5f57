// Package backoff says how long to pause before something that has ended or
// failed is tried again: not at all at first, then ever longer, and not at all
// once it has run for a while.
//
// It decides nothing about what is tried.
package backoff

import (
	"context"
	"time"
)

const (
	first   = 100 * time.Millisecond // before the second attempt in a row
	longest = 10 * time.Second
	stable  = 30 * time.Second // running this long starts afresh
)

// A Backoff is how long to pause before the next attempt. The zero Backoff is
// that of the first.
type Backoff time.Duration

// After is the back-off once an attempt has come to an end after ran.
func (b Backoff) After(ran time.Duration) Backoff {
	switch {
	case ran >= stable:
		return 0
	case b == 0:
		return Backoff(first)
	}
	return min(2*b, Backoff(longest))
}

// Pause reports whether the pause was over before ctx was.
func (b Backoff) Pause(ctx context.Context) bool { return Sleep(ctx, time.Duration(b)) }

// Sleep reports whether d was over before ctx was.
func Sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
