package phases

import (
	"context"
	"fmt"
	"time"
)

// pollInterval is how often something is asked that cannot tell by itself.
const pollInterval = 150 * time.Millisecond

// until tries again and again until try says it is done, which returns try's
// error. When the time is up or ctx ends, the last error tells why it was not.
func until(ctx context.Context, timeout time.Duration, try func(context.Context) (done bool, err error)) error {
	return untilEvery(ctx, pollInterval, timeout, try)
}

// untilEvery is until for what is asked at another interval.
func untilEvery(ctx context.Context, interval, timeout time.Duration, try func(context.Context) (done bool, err error)) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last error
	for {
		done, err := try(limited)
		if done {
			return err
		}
		// An attempt that was cut off knows less than the one before it.
		if limited.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-limited.Done():
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w (last: %w)", context.Cause(ctx), last)
		case limited.Err() != nil:
			return fmt.Errorf("gave up after %s: %w", timeout, last)
		}
	}
}
