package volume

import (
	"log/slog"
	"sync"
)

// Work is what goes on beside those who asked for it. The zero value is ready.
type work struct {
	mu   sync.Mutex // guards busy
	busy map[string]bool
	life sync.WaitGroup
}

// beside does something on a goroutine of its own, unless it is under way. The
// work waits for drivers, and ends with its context.
func (v *Volumes) beside(name string, do func() error) {
	v.work.mu.Lock()
	defer v.work.mu.Unlock()
	if v.work.busy[name] {
		return
	}
	if v.work.busy == nil {
		v.work.busy = map[string]bool{}
	}
	v.work.busy[name] = true
	v.work.life.Go(func() {
		if err := do(); err != nil {
			v.Logger.Warn("clean up volumes of pods of the past", slog.Any("err", err))
		}
		v.work.mu.Lock()
		defer v.work.mu.Unlock()
		delete(v.work.busy, name)
	})
}
