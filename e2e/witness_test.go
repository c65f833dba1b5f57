package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
)

// A witness asks a pod all the time.
type witness struct {
	mu     sync.Mutex
	asked  int
	failed []error
}

func observe(t *testing.T, n *lab.Node, url string) *witness {
	t.Helper()
	w := &witness{}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
	lab.Until(t, patience, "see the pod answer for the first time", func(ctx context.Context) error { // its program may only just start
		return w.ask(ctx, client, url)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			w.note(ctx, w.ask(ctx, client, url))
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
	return w
}

func (w *witness) ask(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}

// note takes in what came of asking.
func (w *witness) note(ctx context.Context, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if err != nil && ctx.Err() == nil {
		w.failed = append(w.failed, err)
	}
}

// check fails if the pod has not answered all along.
func (w *witness) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failed) > 0 || w.asked < 10 {
		t.Errorf("the pod was asked %d times, and has not answered %d times: %v", w.asked, len(w.failed), errors.Join(w.failed...))
	}
}
