package engine

import (
	"context"
	"log/slog"
	"time"

	"boot.internal/backoff"
	"boot.internal/logfile"
	"boot.internal/process"
)

const (
	logLimit    = 20 << 20
	logInterval = 10 * time.Minute
)

// Run keeps the engine running until ctx ends, and then leaves it running for
// the containers' sake. It returns no error: what goes wrong is logged and
// tried again, after ever longer pauses.
//
//	        ┌──────── pause ◄───────┐
//	        ▼                       │ fails
//	ensure (adopt or start) ──► runs, answers ──► ends
//	        ▲                                      │
//	        └──────────────────────────────────────┘
func (e *Engine) Run(ctx context.Context) {
	if !e.own {
		<-ctx.Done()
		return
	}
	go e.keepLogSmall(ctx)
	var pause backoff.Backoff
	for pause.Pause(ctx) {
		begin := time.Now()
		id, err := e.ensure(ctx)
		if err == nil {
			err = e.watch(ctx, id)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			e.o.Log.Error("the container engine does not start", slog.Any("err", err))
		}
		pause = pause.After(time.Since(begin))
	}
}

// watch returns once the engine has ended.
func (e *Engine) watch(ctx context.Context, id process.ID) error {
	if err := id.Wait(ctx); err != nil {
		return err
	}
	e.o.Log.Warn("the container engine has ended: starting it again", slog.Int("pid", id.PID))
	return nil
}

func (e *Engine) keepLogSmall(ctx context.Context) {
	for {
		if err := logfile.Shrink(e.o.LogFile, logLimit); err != nil {
			e.o.Log.Warn("the container engine's log keeps growing", slog.Any("err", err))
		}
		if !backoff.Sleep(ctx, logInterval) {
			return
		}
	}
}

// Stop ends boot's own engine and every shim it has left, for a host that is
// being taken out of use. Stop the pods first. Other engines are left alone.
func (e *Engine) Stop(ctx context.Context) error {
	if !e.own {
		return nil
	}
	l, err := e.lock(ctx)
	if err != nil {
		return err
	}
	defer l.Release()
	r, err := e.running()
	if err != nil {
		return err
	}
	if err := r.Terminate(ctx, stopGrace); err != nil {
		return err
	}
	shims, err := e.Shims()
	if err != nil {
		return err
	}
	for _, id := range shims {
		// Shims ignore SIGTERM until their container is gone.
		if err := id.Terminate(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// Running reports whether boot's own engine runs.
func (e *Engine) Running() (bool, error) {
	r, err := e.running()
	return r.ID != process.ID{}, err
}

// Shims returns the processes that hold containers of boot's own engine. They
// live on when it ends, so they tell whether containers may still run.
func (e *Engine) Shims() ([]process.ID, error) {
	return process.All(func(id process.ID) bool {
		return e.executes(id, "containerd-shim-runc-v2")
	})
}
