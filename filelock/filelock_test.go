package filelock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestTakingTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "x.lock")
	first, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Try(path); !errors.Is(err, ErrHeld) {
		t.Fatalf("second: %v, want ErrHeld", err)
	}
	got := make(chan error, 1)
	go func() {
		second, err := Take(t.Context(), path)
		if err == nil {
			second.Release()
		}
		got <- err
	}()
	first.Release()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	first, err := Take(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = Take(ctx, path)
	if !errors.Is(err, ErrHeld) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	// Whoever gave up waiting does not keep the lock from others.
	first.Release()
	third, err := Take(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	third.Release()
}
