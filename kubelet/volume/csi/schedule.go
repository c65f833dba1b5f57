package csi

import (
	"context"
	"maps"
	"sync"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"
)

// A schedule says when a driver is asked again how many volumes it takes
// (KEP-4876): one that is registered on this node, as often as its CSIDriver says.
// It is the store that these objects are written to.
type schedule struct {
	// ask asks one driver. Those that are slow hold up nobody else.
	ask func(ctx context.Context, driver string)

	begin sync.Once
	begun chan struct{} // closed when the first driver is here

	mu      sync.Mutex // guards what follows
	here    map[string]bool
	periods map[string]time.Duration
	changed chan struct{} // of capacity 1: there may be something else to do
}

func newSchedule(ask func(ctx context.Context, driver string)) *schedule {
	return &schedule{
		ask: ask, begun: make(chan struct{}), changed: make(chan struct{}, 1),
		here: map[string]bool{}, periods: map[string]time.Duration{},
	}
}

// set notes whether a driver is registered.
func (s *schedule) set(driver string, here bool) {
	s.change(func() {
		delete(s.here, driver)
		if here {
			s.here[driver] = true
		}
	})
	if here {
		s.begin.Do(func() { close(s.begun) })
	}
}

func (s *schedule) change(how func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// due returns how often each driver is to be asked.
func (s *schedule) due() map[string]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]time.Duration{}
	for driver := range s.here {
		if every := s.periods[driver]; every > 0 {
			all[driver] = every
		}
	}
	return all
}

// run asks drivers until ctx ends. A period that changes begins anew.
func (s *schedule) run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	stops := map[string]context.CancelFunc{}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for was := map[string]time.Duration{}; ; {
		now := s.due()
		maps.DeleteFunc(stops, func(driver string, stop context.CancelFunc) bool {
			over := now[driver] != was[driver]
			if over {
				stop()
			}
			return over
		})
		for driver, every := range now {
			if stops[driver] == nil {
				each, stop := context.WithCancel(ctx)
				stops[driver] = stop
				asking.Go(func() { s.repeat(each, driver, every) })
			}
		}
		was = now
		select {
		case <-s.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (s *schedule) repeat(ctx context.Context, driver string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if ctx.Err() != nil { // it ended while the driver was asked
				return
			}
			s.ask(ctx, driver)
		case <-ctx.Done():
			return
		}
	}
}

// period returns how often a driver wants to be asked, 0 for never. Nil is a
// driver without an object.
func period(d *storagev1.CSIDriver) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(ptr.Deref(d.Spec.NodeAllocatableUpdatePeriodSeconds, 0)) * time.Second
}

// Add implements cache.ReflectorStore.
func (s *schedule) Add(obj any) error {
	if d, ok := obj.(*storagev1.CSIDriver); ok {
		s.change(func() { s.periods[d.Name] = period(d) })
	}
	return nil
}

// Update implements cache.ReflectorStore.
func (s *schedule) Update(obj any) error { return s.Add(obj) }

// Delete implements cache.ReflectorStore.
func (s *schedule) Delete(obj any) error {
	if d, ok := obj.(*storagev1.CSIDriver); ok {
		s.change(func() { delete(s.periods, d.Name) })
	}
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *schedule) Replace(list []any, _ string) error {
	s.change(func() {
		clear(s.periods)
		for _, obj := range list {
			if d, ok := obj.(*storagev1.CSIDriver); ok {
				s.periods[d.Name] = period(d)
			}
		}
	})
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *schedule) Resync() error { return nil }
