// Package service lets the kubelet loop live on after the command that starts
// it: under systemd or OpenRC where they run, and where neither does as a
// detached process that a small supervisor restarts.
//
// It decides how the loop is started, found, restarted and stopped, and where
// its log goes. What the loop does is none of its business; pods live on
// whatever happens here.
//
//	systemd   ──────────────► loop          (restarts it, keeps its log)
//	OpenRC    ──► supervisor ──► loop        (supervisor: Supervise)
//	nobody        supervisor ──► loop
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"boot.internal/filelock"
	"boot.internal/hint"
	"boot.internal/logfile"
	"boot.internal/process"
)

// Name is what service managers know the loop by.
const Name = "boot-kubelet"

// SuperviseFlag is appended to the loop's arguments to run the supervisor: the
// command is then to call Supervise.
const SuperviseFlag = "--supervise"

// Options say what the loop is and where its things are. The zero value of
// each field but Args stands for the default named there.
type Options struct {
	// Executable is the program: this one.
	Executable string
	// Args are its arguments when it is the loop, without SuperviseFlag.
	Args []string
	// RunDir holds locks, socket and state: /run/boot.
	RunDir string
	// LogFile is where the log goes if no service manager keeps it:
	// /var/log/boot/kubelet.log.
	LogFile string
	// MaxSizeMB is the size at which the log is rotated: 10.
	MaxSizeMB int
	// MaxFiles is how many rotated logs are kept: 5.
	MaxFiles int
	// StartTimeout is how long the loop may take until it is ready: 2 min.
	StartTimeout time.Duration
	// Log is told what happens to the loop: nobody.
	Log *slog.Logger

	root string  // of the file system that service managers read; "/"
	run  command // runs the programs of service managers
}

func (o Options) withDefaults() (Options, error) {
	if o.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find the program to run as a service: %w", err)
		}
		o.Executable = exe
	}
	set(&o.RunDir, "/run/boot")
	set(&o.LogFile, "/var/log/boot/kubelet.log")
	set(&o.MaxSizeMB, 10)
	set(&o.MaxFiles, 5)
	set(&o.StartTimeout, 2*time.Minute)
	set(&o.root, "/")
	if o.run == nil {
		o.run = execute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Manager runs the loop as a service of this host.
type Manager struct {
	o       Options
	kind    Kind
	backend backend
}

// A backend is one way to run the loop.
type backend interface {
	// running reports whether the loop runs as it would be started.
	running(ctx context.Context) (bool, error)
	// start starts the loop anew and waits until it is ready.
	start(ctx context.Context) error
	// left reports whether there is anything for stop to do.
	left() (bool, error)
	// stop ends the loop for good. Nothing to stop is no error.
	stop(ctx context.Context) error
}

// New returns the Manager for the service manager that runs on this host.
func New(o Options) (*Manager, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	kind, err := detect(o.root)
	if err != nil {
		return nil, err
	}
	m := &Manager{o: o, kind: kind}
	switch kind {
	case Systemd:
		m.backend = systemd{o}
	case OpenRC:
		m.backend = openrc{o}
	case Detached:
		m.backend = detached{o}
	}
	return m, nil
}

// Kind says what keeps the loop running.
func (m *Manager) Kind() Kind { return m.kind }

// LogHint says in a few words how to read the loop's log.
func (m *Manager) LogHint() string {
	if m.kind == Systemd {
		return "journalctl -u " + Name
	}
	return m.o.LogFile
}

// LogTail returns at most so many last lines of the loop's log, none if it cannot be
// read before ctx ends.
func (m *Manager) LogTail(ctx context.Context, lines int) []string {
	if m.kind == Systemd {
		return journalTail(ctx, m.o.run, lines)
	}
	return logfile.Tail(m.o.LogFile, 0, lines)
}

// Running reports whether the loop runs, is ready, and is what Start would
// start: the same program with the same arguments.
func (m *Manager) Running(ctx context.Context) (bool, error) { return m.backend.running(ctx) }

// Start makes the loop run, also after a restart of the host where a service
// manager does that, and returns once it is ready. One that runs otherwise is
// replaced. If it ends instead, the error's hint shows the last lines of its
// log, and nothing is left running.
func (m *Manager) Start(ctx context.Context) error {
	ok, err := m.Running(ctx)
	if err != nil || ok {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.o.StartTimeout)
	defer cancel()
	if err := m.backend.start(ctx); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return errors.Join(err, m.backend.stop(clean))
	}
	return nil
}

// Left reports whether there is anything of the loop to stop or to remove,
// whoever runs it: it may also have been started by hand.
func (m *Manager) Left(context.Context) (bool, error) {
	left, err := m.backend.left()
	if err != nil || left {
		return left, err
	}
	id, err := claimer(m.o.RunDir)
	return id.Alive(), err
}

// Stop ends the loop, whoever runs it, and has it not come back. Pods live on.
func (m *Manager) Stop(ctx context.Context) error {
	if err := m.backend.stop(ctx); err != nil {
		return err
	}
	id, err := claimer(m.o.RunDir)
	if err != nil {
		return err
	}
	if err := id.Terminate(ctx, stopGrace); err != nil {
		return fmt.Errorf("stop the loop: %w", err)
	}
	return nil
}

// Ready is called by the loop once it works, and tells whoever started it.
func Ready() error {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("tell that the loop is ready: %w", err)
	}
	return nil
}

// Claim is called by the loop before it touches a pod. It fails if another loop
// does so already, and lasts until the process ends or the lock is released.
func Claim(runDir string) (*filelock.Lock, error) {
	l, err := filelock.Try(filepath.Join(runDir, "kubelet.lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, hint.With(fmt.Errorf("run the kubelet loop: another one runs on this host: %w", err),
			"end the process that "+pidPath(runDir)+" names, or stop it for good with 'boot reset'")
	}
	if err != nil {
		return nil, err
	}
	self, err := process.Of(os.Getpid())
	if err == nil {
		err = self.Write(pidPath(runDir))
	}
	if err != nil {
		l.Release()
		return nil, fmt.Errorf("run the kubelet loop: %w", err)
	}
	return l, nil
}

func pidPath(runDir string) string { return filepath.Join(runDir, "kubelet.pid") }

// claimer returns the loop that last claimed this host, or none. It may have
// ended.
func claimer(runDir string) (process.ID, error) {
	id, err := process.Read(pidPath(runDir))
	if errors.Is(err, os.ErrNotExist) {
		return process.ID{}, nil
	}
	return id, err
}
