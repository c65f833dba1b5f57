package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signal sends sig to the process. One that has ended is no error: what a
// signal is sent for has then happened.
func (id ID) Signal(sig syscall.Signal) error {
	fd, err := id.open()
	if errors.Is(err, ErrEnded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = fd.Close() }()
	err = unix.PidfdSendSignal(int(fd.Fd()), sig, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to pid %d: %w", unix.SignalName(sig), id.PID, err)
	}
	return nil
}

// Wait returns nil once the process has ended, whoever its parent is, or the
// context's error. It does not reap.
func (id ID) Wait(ctx context.Context) error {
	fd, err := id.open()
	if errors.Is(err, ErrEnded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = fd.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = fd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return waitReadable(ctx, fd, id.PID)
}

// waitReadable waits for the pidfd to become readable, which it does when its
// process ends.
func waitReadable(ctx context.Context, fd *os.File, pid int) error {
	conn, err := fd.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for pid %d: %w", pid, err)
	}
	err = conn.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n == 1
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("wait for pid %d: %w", pid, err)
	}
	return nil
}

// Terminate asks the process to end with SIGTERM and, when grace is over, ends
// it with SIGKILL. It returns once the process is gone.
func (id ID) Terminate(ctx context.Context, grace time.Duration) error {
	if err := id.Signal(unix.SIGTERM); err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := id.Wait(patient)
	if err == nil || ctx.Err() != nil || patient.Err() == nil {
		return err
	}
	if err := id.Signal(unix.SIGKILL); err != nil {
		return err
	}
	return id.Wait(ctx)
}

// open returns a pidfd that the runtime's poller can wait on. The start time is
// looked at after opening: from then on the pidfd cannot change its meaning.
func (id ID) open() (*os.File, error) {
	if id.PID <= 0 {
		return nil, ErrEnded
	}
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("pid %d: %w", id.PID, ErrEnded)
	}
	if err != nil {
		return nil, fmt.Errorf("open pid %d: %w", id.PID, err)
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", id.PID))
	if !id.Alive() {
		_ = f.Close()
		return nil, fmt.Errorf("pid %d: %w", id.PID, ErrEnded)
	}
	return f, nil
}
