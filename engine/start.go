package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/filelock"
	"boot.internal/logfile"
	"boot.internal/process"
)

// stopGrace is how long containerd may take to end. It ends at once unless it
// hangs; containers live on either way.
const stopGrace = 10 * time.Second

// Start makes the engine answer: boot's own is unpacked, configured and, unless
// it already runs just so, started. One that runs another version or with
// another configuration is replaced under its containers. Of any other engine
// Start waits for the answer.
//
// Processes of boot may call it at the same time; the engine belongs to none of
// them and outlives them all.
func (e *Engine) Start(ctx context.Context) error {
	_, err := e.ensure(ctx)
	return err
}

// ensure is Start. It returns the process of boot's own engine.
func (e *Engine) ensure(ctx context.Context) (process.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.StartTimeout)
	defer cancel()
	if !e.own {
		return process.ID{}, e.awaitOther(ctx)
	}
	l, err := e.lock(ctx)
	if err != nil {
		return process.ID{}, err
	}
	defer l.Release()
	want, err := e.prepare(ctx)
	if err != nil {
		return process.ID{}, err
	}
	if id, err := e.adopt(ctx, want); err != nil || id != (process.ID{}) {
		return id, err
	}
	id, err := e.spawn(ctx, want)
	if err != nil {
		return process.ID{}, err
	}
	return id, prune(filepath.Join(e.o.Dir, "engine"), filepath.Dir(want.Exe))
}

func (e *Engine) lock(ctx context.Context) (*filelock.Lock, error) {
	return filelock.Take(ctx, filepath.Join(e.o.RunDir, "containerd.lock"))
}

// prepare unpacks and configures boot's own engine and returns the record that
// a process running just so has, but for its ID.
func (e *Engine) prepare(ctx context.Context) (record, error) {
	bin, err := unpack(ctx, e.o.Archive, filepath.Join(e.o.Dir, "engine"))
	if err != nil {
		return record{}, err
	}
	if err := os.MkdirAll(e.o.root(), 0o711); err != nil {
		return record{}, fmt.Errorf("prepare the engine: %w", err)
	}
	h, err := lookAround(e.o.root())
	if err != nil {
		return record{}, fmt.Errorf("prepare the engine: %w", err)
	}
	text, err := configFor(e.o, h, bin).render()
	if err != nil {
		return record{}, err
	}
	if err := keep(e.o.sandboxProfilePath(), sandboxProfile); err != nil {
		return record{}, err
	}
	return record{Exe: filepath.Join(bin, "containerd"), Config: digestOf(text)}, keep(e.o.configPath(), text)
}

// keep sees that a file says this.
func keep(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(text) {
		return nil
	}
	return atomicfile.Write(path, text, 0o644)
}

// adopt returns the engine that already runs as wanted. It ends one that runs
// otherwise or does not answer, and then returns none.
func (e *Engine) adopt(ctx context.Context, want record) (process.ID, error) {
	have, err := e.running()
	if err != nil || have.ID == (process.ID{}) {
		return process.ID{}, err
	}
	if have.Exe == want.Exe && have.Config == want.Config {
		patient, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		_, err := answers(patient, e.socket, true)
		if err == nil {
			return have.ID, nil
		}
		if ctx.Err() != nil {
			return process.ID{}, err
		}
		e.o.Log.Warn("the container engine runs but does not answer: replacing it", slog.Any("err", err))
	}
	return process.ID{}, have.Terminate(ctx, stopGrace)
}

// running returns the record of boot's own engine, or the zero record. A
// process that was started but not recorded, because its starter was killed
// between the two, is found by what it executes.
func (e *Engine) running() (record, error) {
	r, err := readRecord(e.o.recordPath())
	if err != nil {
		return record{}, err
	}
	if r.runs() {
		return r, nil
	}
	strays, err := process.All(func(id process.ID) bool {
		return e.executes(id, "containerd")
	})
	if err != nil || len(strays) == 0 {
		return record{}, err
	}
	return record{ID: strays[0]}, nil
}

// executes reports whether the process runs the named executable of boot's own
// engine, in any version, and sees the files we see: a node made of namespaces
// on the same host has the same paths.
func (e *Engine) executes(id process.ID, name string) bool {
	exe, err := id.Exe()
	if err != nil || filepath.Base(exe) != name || filepath.Dir(filepath.Dir(exe)) != filepath.Join(e.o.Dir, "engine") {
		return false
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", id.PID))
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	return err == nil && theirs == ours
}

// spawn starts containerd and waits until it answers.
func (e *Engine) spawn(ctx context.Context, want record) (process.ID, error) {
	start := time.Now()
	log, offset, err := logfile.Open(e.o.LogFile)
	if err != nil {
		return process.ID{}, err
	}
	cmd := e.command(want.Exe, log)
	err = cmd.Start()
	_ = log.Close() // the child has its own
	if err != nil {
		return process.ID{}, fmt.Errorf("start the engine: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if want.ID, err = process.Of(cmd.Process.Pid); err == nil {
		err = want.write(e.o.recordPath())
	} else if errors.Is(err, process.ErrEnded) { // before it could be looked at
		err = fmt.Errorf("containerd ended: %w", <-ended)
	}
	if err == nil {
		err = e.await(ctx, ended)
	}
	if err != nil {
		return process.ID{}, &startError{
			err: fmt.Errorf("start the engine: %w", err),
			log: logfile.Tail(e.o.LogFile, offset, 10), path: e.o.LogFile,
		}
	}
	e.o.Log.Info("started the container engine", slog.Int("pid", want.PID),
		slog.String("path", e.socket), slog.Duration("took", time.Since(start)))
	return want.ID, nil
}

// command is containerd as it is run: in a session of its own, so that no
// signal to boot reaches it; without a tie to our life, so that it outlives us;
// without our notification socket, so that nothing it tells is taken for ours.
func (e *Engine) command(exe string, log *os.File) *exec.Cmd {
	cmd := exec.Command(exe, "--config", e.o.configPath())
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "PATH":
		default:
			cmd.Env = append(cmd.Env, kv)
		}
	}
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(exe)+":"+path)
	return cmd
}

// await waits for the first answer, or for the end of the process.
func (e *Engine) await(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := answers(ctx, e.socket, true)
		answered <- err
	}()
	select {
	case err := <-answered:
		return err
	case err := <-ended:
		return fmt.Errorf("containerd ended: %w", err)
	}
}

// A startError carries the last lines of the engine's log.
type startError struct {
	err  error
	log  []string
	path string
}

func (s *startError) Error() string { return s.err.Error() }

func (s *startError) Unwrap() error { return s.err }

// Hint shows what the engine said last.
func (s *startError) Hint() string {
	if len(s.log) == 0 {
		return "see " + s.path
	}
	return "the last lines of " + s.path + ":\n  " + strings.Join(s.log, "\n  ")
}
