// Package filelock lets processes take turns. The kernel gives a lock back when
// its holder ends, however it ends, so a lock is never stale.
//
// It decides nothing about who may hold a lock for how long.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrHeld reports a lock that somebody else holds.
var ErrHeld = errors.New("held by another process")

// A Lock is held until it is released or its process ends.
type Lock struct{ f *os.File }

// Release gives the lock back. The file stays: removing it would let two
// processes hold locks on two files of one name.
func (l *Lock) Release() { _ = l.f.Close() }

// Take waits for the lock on path, which it makes if need be.
func Take(ctx context.Context, path string) (*Lock, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_NB); err == nil {
		return &Lock{f}, nil
	}
	taken := make(chan error, 1)
	go func() { taken <- flock(f, 0) }()
	select {
	case err = <-taken:
	case <-ctx.Done():
		// The system call cannot be interrupted: let it end in its own time.
		go func() { <-taken; _ = f.Close() }()
		return nil, fmt.Errorf("lock %s: %w: %w", path, ErrHeld, ctx.Err())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return &Lock{f}, nil
}

// Try takes the lock on path, or fails with ErrHeld at once.
func Try(path string) (*Lock, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	err = flock(f, unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrHeld
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return &Lock{f}, nil
}

func open(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	fd := int(f.Fd())
	for {
		if err := unix.Flock(fd, unix.LOCK_EX|how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
