package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"boot.internal/filelock"
	"boot.internal/hint"
	"boot.internal/process"
	"boot.internal/service"
)

// loopLeft is the kubelet loop as a reset finds it: run as a service, or in
// somebody's terminal.
type loopLeft struct {
	manager *service.Manager
	runDir  string
}

// Left implements phases.Loop.
func (l loopLeft) Left(context.Context) (bool, error) {
	state, err := service.ReadState(l.runDir)
	if err != nil {
		return false, err
	}
	for _, path := range []string{"/etc/systemd/system/" + service.Name + ".service", "/etc/init.d/" + service.Name} {
		if _, err := os.Stat(path); err == nil {
			return true, nil
		}
	}
	held, err := l.held()
	return held || state.Supervisor != process.ID{}, err
}

// Stop implements phases.Loop.
func (l loopLeft) Stop(ctx context.Context) error {
	if err := l.manager.Stop(ctx); err != nil {
		return err
	}
	held, err := l.held()
	if err != nil || !held {
		return err
	}
	return l.stopHolder(ctx)
}

// stopHolder ends a loop that no service runs.
func (l loopLeft) stopHolder(ctx context.Context) error {
	const grace = 10 * time.Second
	lock, err := os.Stat(l.lock())
	if err != nil {
		return err
	}
	holders, err := process.All(func(id process.ID) bool { return id.PID != os.Getpid() && hasOpen(id, lock) })
	if err != nil {
		return err
	}
	if len(holders) == 0 {
		return hint.With(errors.New("a kubelet loop runs that cannot be seen from here"), "end the process that holds "+l.lock())
	}
	for _, id := range holders {
		if err := id.Terminate(ctx, grace); err != nil {
			return fmt.Errorf("stop the kubelet loop in process %d: %w", id.PID, err)
		}
	}
	return nil
}

func (l loopLeft) lock() string { return filepath.Join(l.runDir, "kubelet.lock") }

// held says whether a loop runs: as long as it does, it holds the lock.
func (l loopLeft) held() (bool, error) {
	if _, err := os.Stat(l.lock()); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	lock, err := filelock.Try(l.lock())
	if errors.Is(err, filelock.ErrHeld) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	lock.Release()
	return false, nil
}

func hasOpen(id process.ID, file os.FileInfo) bool {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", id.PID))
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if fi, err := os.Stat(fd); err == nil && os.SameFile(fi, file) {
			return true
		}
	}
	return false
}
