package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// askTimeout is how long an engine that is looked for may take to answer.
const askTimeout = 5 * time.Second

// ErrNoEngine reports that Mode Socket found no engine.
var ErrNoEngine = errors.New("no container engine answers")

// Find decides which engine this host uses. In this order:
//
//   - the socket that Options name, which must answer unless it is boot's own
//   - the engine used last time, boot's own or another: the pods are there
//   - the first well-known socket that answers
//   - boot's own
//
// It starts nothing.
func Find(ctx context.Context, o Options) (*Engine, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	own := &Engine{o: o, socket: o.socketPath(), own: true}
	socket := strings.TrimPrefix(o.Socket, "unix://")
	switch {
	case socket == own.socket:
		return own, nil
	case socket != "":
		return o.use(ctx, socket)
	case o.Mode == Bundled:
		return own, nil
	case o.Mode != Socket && own.hasRun():
		return own, nil
	}
	last, err := readSocket(o.lastPath())
	if err != nil {
		return nil, err
	}
	if last != "" {
		// It may come up later than we do; Start waits for it.
		return &Engine{o: o, socket: last}, nil
	}
	return o.look(ctx, own)
}

// look asks the well-known sockets.
func (o Options) look(ctx context.Context, own *Engine) (*Engine, error) {
	var reasons []error
	for _, socket := range o.wellKnown {
		e, err := o.use(ctx, socket)
		if err == nil {
			return e, nil
		}
		reasons = append(reasons, err)
	}
	if o.Mode != Socket {
		return own, nil
	}
	return nil, hint.With(fmt.Errorf("%w: %w", ErrNoEngine, errors.Join(reasons...)),
		"start containerd or CRI-O, name its socket with --cri-socket, or let boot run its own with engine: auto")
}

// use returns the engine behind a socket that is not boot's, if it answers.
func (o Options) use(ctx context.Context, socket string) (*Engine, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, fmt.Errorf("use the engine at %s: %w", socket, err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	v, err := answers(ctx, socket, false)
	if err != nil {
		return nil, hint.With(err, "check that the engine runs and that its CRI plugin is enabled")
	}
	o.Log.Info("using a container engine that is already there", slog.String("path", socket),
		slog.String("name", v.GetRuntimeName()), slog.String("version", v.GetRuntimeVersion()))
	return &Engine{o: o, socket: socket}, nil
}

// lastPath is where the socket of an engine of others is noted once it has been
// used: after a restart of the host boot may be up before that engine, and must
// not take another one then.
func (o Options) lastPath() string { return filepath.Join(o.Dir, "engine", "socket") }

func readSocket(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which engine was used: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// awaitOther waits for an engine of others and notes that it is in use.
func (e *Engine) awaitOther(ctx context.Context) error {
	if _, err := answers(ctx, e.socket, true); err != nil {
		return hint.With(err, "start that engine, or name another one with --cri-socket")
	}
	if last, err := readSocket(e.o.lastPath()); err != nil || last == e.socket {
		return err
	}
	return atomicfile.Write(e.o.lastPath(), []byte(e.socket+"\n"), 0o644)
}

// Check returns why there would be no engine to start: this build of boot may
// carry none.
func (e *Engine) Check(context.Context) error {
	if !e.own {
		return nil // it has answered
	}
	r, err := e.o.Archive.Open()
	if err != nil {
		return err
	}
	return r.Close()
}

// hasRun reports whether boot's own engine has been configured here.
func (e *Engine) hasRun() bool {
	_, err := os.Stat(e.o.configPath())
	return err == nil
}

// validate refuses what would only show once a shim cannot listen.
func (o Options) validate() error {
	const longest = 36 // containerd's limit is 38 for the directory "s" in it
	if len(o.RunDir) > longest {
		return fmt.Errorf("run directory %s: its name must have at most %d bytes, for sockets below it", o.RunDir, longest)
	}
	switch o.Mode {
	case Auto, Bundled, Socket:
		return nil
	}
	return fmt.Errorf("engine mode %q: want %s, %s or %s", o.Mode, Auto, Bundled, Socket)
}
