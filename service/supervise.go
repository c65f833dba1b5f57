package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"boot.internal/backoff"
	"boot.internal/filelock"
	"boot.internal/process"
)

// stopGrace is how long the loop may take to end when it is asked to.
const stopGrace = 10 * time.Second

// stopTimeout is how long stopping may take in all.
const stopTimeout = stopGrace + 10*time.Second

// lockWait is how long a supervisor that was killed may take to be gone: its lock
// is given back with the last of its threads, and the loop dies with the first.
const lockWait = 2 * time.Second

// turn makes this process the supervisor.
func turn(ctx context.Context, runDir string) (*filelock.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	return filelock.Take(ctx, filepath.Join(runDir, "supervisor.lock"))
}

// Supervise runs the loop and starts it again when it ends, until ctx does;
// then it ends the loop. It is what SuperviseFlag stands for. There is one
// supervisor per RunDir; a second one fails with filelock.ErrHeld.
//
// The loop dies with its supervisor, even one that is killed: the kernel sees to
// it. So there never is a loop that nobody restarts and nobody can find, at the
// price that a killed supervisor stops the loop, though no pod, until the next
// Start.
//
//	    ┌───────────── pause ◄────────────┐
//	    ▼                                 │
//	starting ── READY=1 ──► ready ──► ended
//	    └─────────────────────────────────▲
func Supervise(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	l, err := turn(ctx, o.RunDir)
	if err != nil {
		return fmt.Errorf("supervise the loop: %w", err)
	}
	defer l.Release()
	self, err := process.Of(os.Getpid())
	if err != nil {
		return fmt.Errorf("supervise the loop: %w", err)
	}
	protect()
	notes, err := listenNotify(filepath.Join(o.RunDir, "notify.sock"))
	if err != nil {
		return fmt.Errorf("supervise the loop: %w", err)
	}
	defer notes.close()
	log := &lumberjack.Logger{Filename: o.LogFile, MaxSize: o.MaxSizeMB, MaxBackups: o.MaxFiles}
	defer func() { _ = log.Close() }()
	s := &supervisor{
		o: o, notes: notes, out: log,
		log:   slog.New(slog.NewTextHandler(log, nil)),
		state: State{Supervisor: self, Args: o.Args},
	}
	s.note() // from now on we can be found and stopped
	s.run(ctx)
	// Whoever looks from now on finds nothing that runs.
	if err := os.Remove(statePath(o.RunDir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the state of the loop: %w", err)
	}
	return nil
}

// protect has the kernel kill anything but us and the loop when memory runs out, as a
// unit of systemd has it. Containers have scores of their own. It takes CAP_SYS_RESOURCE,
// which hosts that are containers lack; there, the loop takes its chances.
func protect() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte(oomScore), 0) }

// oomScore is that of upstream's kubelet.
const oomScore = "-999"

// supervisor is one call of Supervise.
type supervisor struct {
	o     Options
	notes *notify
	out   io.Writer // the loop's log
	log   *slog.Logger
	state State
}

func (s *supervisor) run(ctx context.Context) {
	// The signal that the loop is to get when we die is tied to the thread that
	// starts it, so that thread must not end before we do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var pause backoff.Backoff
	for pause.Pause(ctx) {
		begin := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		s.state.Ready = false
		s.state.Exits++
		s.state.Last = "ended"
		if err != nil {
			s.state.Last = err.Error()
		}
		s.note()
		pause = pause.After(time.Since(begin))
		s.log.Error("the kubelet loop has ended: starting it again", slog.String("err", s.state.Last),
			slog.Duration("pause", time.Duration(pause)))
	}
}

// once runs the loop until it ends.
func (s *supervisor) once(ctx context.Context) error {
	cmd := exec.Command(s.o.Executable, s.o.Args...)
	cmd.Env = append(environ(), "NOTIFY_SOCKET="+s.notes.path)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	// A process that the loop left behind may hold its output open for ever.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.o.Executable, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	id, err := process.Of(cmd.Process.Pid)
	if err != nil {
		return <-ended // it was that quick
	}
	s.state.Loop, s.state.Ready = id, false
	s.note()
	return s.follow(ctx, id, ended)
}

// follow notes that the loop gets ready, and waits for its end or brings it
// about.
func (s *supervisor) follow(ctx context.Context, loop process.ID, ended <-chan error) error {
	for {
		select {
		case pid := <-s.notes.ready:
			// A loop that has ended meanwhile may have said it last.
			if pid == loop.PID {
				s.state.Ready = true
				s.note()
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			if err := loop.Terminate(clean, stopGrace); err != nil {
				s.log.Error("the kubelet loop cannot be stopped", slog.Any("err", err))
			}
			return <-ended
		}
	}
}

// note writes the state. A supervisor that cannot goes on supervising.
func (s *supervisor) note() {
	if err := s.state.write(s.o.RunDir); err != nil {
		s.log.Error("the state of the kubelet loop cannot be noted", slog.Any("err", err))
	}
}

// environ is our environment without what service managers told us.
func environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC":
		default:
			env = append(env, kv)
		}
	}
	return env
}
