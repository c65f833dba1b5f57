package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// What a plugin is given to answer, and the waits between two tries to register
// one. They are upstream's.
const (
	infoTimeout   = time.Second
	notifyTimeout = 5 * time.Second

	firstWait = 500 * time.Millisecond
	lastWait  = 2 * time.Minute
)

// A socket is registered by a goroutine of its own, so that a plugin that does
// not answer holds up no other.
type socket struct {
	w       *Watcher
	path    string
	removed chan struct{} // closed by the goroutine of Watcher.Run
	over    chan struct{} // closed at the end of the socket's goroutine
}

func newSocket(w *Watcher, path string) *socket {
	return &socket{w: w, path: path, removed: make(chan struct{}), over: make(chan struct{})}
}

func (s *socket) remove() {
	if !s.gone() {
		close(s.removed)
	}
}

// gone reports whether the socket was removed.
func (s *socket) gone() bool { return closed(s.removed) }

// ended reports whether nothing is done for the socket any more.
func (s *socket) ended() bool { return closed(s.over) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// run registers the plugin, however often that takes, and deregisters it once
// its socket is removed.
func (s *socket) run(ctx context.Context) {
	trying, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.removed:
			cancel()
		case <-trying.Done():
		}
	}()
	p, ok := s.persist(trying)
	if !ok {
		return
	}
	<-trying.Done()
	if ctx.Err() == nil {
		s.deregister(ctx, p)
	}
}

// persist tries to register the plugin until that works. It is not ok when ctx
// ends first.
func (s *socket) persist(ctx context.Context) (Plugin, bool) {
	told := ""
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		p, err := s.register(ctx)
		if err == nil {
			s.w.o.Log.LogAttrs(ctx, slog.LevelInfo, "plugin registered", slog.String("plugin", p.String()))
			return p, true
		}
		if ctx.Err() != nil {
			return p, false
		}
		if err.Error() != told {
			told = err.Error()
			s.w.o.Log.LogAttrs(ctx, slog.LevelWarn, "register plugin", slog.String("path", s.path), slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return p, false
		case <-time.After(wait):
		}
	}
}

// register asks the plugin what it is, has it registered, and tells it how that
// went.
func (s *socket) register(ctx context.Context) (Plugin, error) {
	conn, err := grpc.NewClient("unix://"+s.path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return Plugin{}, fmt.Errorf("dial plugin: %w", err)
	}
	defer func() { _ = conn.Close() }() // it is only asked
	client := registration.NewRegistrationClient(conn)
	p, err := s.ask(ctx, client)
	if err != nil {
		return p, err
	}
	defer s.w.turn(p)()
	outcome := s.hand(ctx, p)
	if err := notify(ctx, client, outcome); err != nil {
		if outcome == nil && ctx.Err() != nil {
			return p, nil // it is registered, and run sees what becomes of it
		}
		if outcome == nil {
			s.w.disown(p)
			s.w.o.Handlers[p.Type].Deregister(ctx, p)
		}
		return p, errors.Join(outcome, err)
	}
	return p, outcome
}

// ask asks the plugin what it is.
func (s *socket) ask(ctx context.Context, client registration.RegistrationClient) (Plugin, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	info, err := client.GetInfo(ctx, &registration.InfoRequest{})
	if err != nil {
		return Plugin{}, fmt.Errorf("ask plugin what it is: %w", err)
	}
	return Plugin{
		Type: Type(info.Type), Name: info.Name, Endpoint: cmp.Or(info.Endpoint, s.path),
		Versions: info.SupportedVersions, Socket: s.path,
	}, nil
}

// hand gives the plugin to the handler of its type.
func (s *socket) hand(ctx context.Context, p Plugin) error {
	h, ok := s.w.o.Handlers[p.Type]
	if !ok {
		return fmt.Errorf("no handler registered for plugin type: %s at socket %s", p.Type, s.path)
	}
	if err := h.Validate(ctx, p); err != nil {
		return fmt.Errorf("plugin validation failed with err: %w", err)
	}
	if err := h.Register(ctx, p); err != nil {
		return fmt.Errorf("plugin registration failed with err: %w", err)
	}
	s.w.own(p)
	return nil
}

// notify tells the plugin how its registration went.
func notify(ctx context.Context, client registration.RegistrationClient, outcome error) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	status := &registration.RegistrationStatus{PluginRegistered: outcome == nil}
	if outcome != nil {
		status.Error = outcome.Error()
	}
	if _, err := client.NotifyRegistrationStatus(ctx, status); err != nil {
		return fmt.Errorf("tell plugin that it is registered: %w", err)
	}
	return nil
}

// deregister forgets a plugin, unless another socket has taken its name.
func (s *socket) deregister(ctx context.Context, p Plugin) {
	defer s.w.turn(p)()
	if !s.w.disown(p) {
		return
	}
	s.w.o.Log.LogAttrs(ctx, slog.LevelInfo, "plugin is gone", slog.String("plugin", p.String()))
	s.w.o.Handlers[p.Type].Deregister(ctx, p)
}
