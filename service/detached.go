package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"boot.internal/logfile"
	"boot.internal/process"
)

// detached runs the supervisor in a session of its own.
type detached struct{ o Options }

func (d detached) running(context.Context) (bool, error) {
	s, err := ReadState(d.o.RunDir)
	return s.works(d.o), err
}

func (d detached) start(ctx context.Context) error {
	if err := d.stop(ctx); err != nil {
		return err
	}
	log, offset, err := logfile.Open(d.o.LogFile)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the supervisor has its own
	cmd := exec.Command(d.o.Executable, append(slices.Clone(d.o.Args), SuperviseFlag)...)
	cmd.Dir = "/"
	cmd.Env = environ()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return await(ctx, d.o, offset, func() (<-chan error, error) {
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("start the supervisor: %w", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return ended, nil
	})
}

func (d detached) left() (bool, error) {
	s, err := ReadState(d.o.RunDir)
	return s.Supervisor.Alive() || s.Loop.Alive(), err
}

func (d detached) stop(ctx context.Context) error {
	s, err := ReadState(d.o.RunDir)
	if err != nil || s.Supervisor == (process.ID{}) {
		return err
	}
	if err := s.Supervisor.Terminate(ctx, stopTimeout); err != nil {
		return fmt.Errorf("stop the supervisor: %w", err)
	}
	// It dies with its supervisor; make sure that this has happened.
	if err := s.Loop.Terminate(ctx, stopGrace); err != nil {
		return fmt.Errorf("stop the loop: %w", err)
	}
	if err := os.Remove(statePath(d.o.RunDir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the state of the loop: %w", err)
	}
	return nil
}

// await calls start, which starts a supervisor, and waits until the loop is
// ready. It fails once the loop or the supervisor has ended; start may return a
// channel that tells of the latter.
func await(ctx context.Context, o Options, offset int64, start func() (<-chan error, error)) error {
	changes, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the start of the loop: %w", err)
	}
	defer func() { _ = changes.Close() }()
	if err := os.MkdirAll(o.RunDir, 0o755); err != nil {
		return err
	}
	if err := changes.Add(o.RunDir); err != nil {
		return fmt.Errorf("watch %s: %w", o.RunDir, err)
	}
	ended, err := start()
	if err != nil {
		return err
	}
	for {
		s, err := ReadState(o.RunDir)
		if err == nil {
			switch {
			case s.works(o):
				return nil
			case s.Exits > 0:
				err = fmt.Errorf("the kubelet loop ended while starting: %s", s.Last)
			}
		}
		if err == nil {
			err = next(ctx, changes, ended)
		}
		if err != nil {
			return withLog(err, o.LogFile, logfile.Tail(o.LogFile, offset, 20))
		}
	}
}

// next waits until the state may have changed.
func next(ctx context.Context, changes *fsnotify.Watcher, ended <-chan error) error {
	select {
	case <-changes.Events:
		return nil
	case err := <-changes.Errors:
		return fmt.Errorf("watch the start of the loop: %w", err)
	case err := <-ended:
		if err == nil {
			err = errors.New("exit status 0")
		}
		return fmt.Errorf("the supervisor of the kubelet loop ended before the loop was ready: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("the kubelet loop is not ready: %w", ctx.Err())
	}
}
