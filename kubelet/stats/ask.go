package stats

import (
	"context"
	"errors"
	"sync"
	"time"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

const (
	// askWithin bounds what others are asked for a volume.
	askWithin = 10 * time.Second
	// askPatience is how long those who want figures wait for an answer. Somebody
	// else may hang, and the figures of all other pods must not wait for that.
	askPatience = time.Second
)

var errNoAnswer = errors.New("whoever made the volume has not answered yet")

// Answers are what those who made volumes said of them. The zero value is ready.
type answers struct {
	mu  sync.Mutex
	all map[string]*answer // by path
}

// An answer is the last one there was, and the one that is on its way.
type answer struct {
	at     time.Time // zero: there was none yet
	stats  *statsapi.FsStats
	err    error
	coming chan struct{} // closed once it came; nil: nobody was asked since
}

// ask returns what was said of a volume, a minute ago at most, or longer while a
// new answer is late.
func (a *answers) ask(ctx context.Context, v Volume) (*statsapi.FsStats, error) {
	if coming := a.coming(ctx, v); coming != nil {
		patience := time.NewTimer(askPatience)
		defer patience.Stop()
		select {
		case <-coming:
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.all[v.Path]
	if last == nil || last.at.IsZero() {
		return nil, errNoAnswer
	}
	return last.stats, last.err
}

// coming asks anew unless there is a good answer that is recent, and returns what
// is closed once it is there.
func (a *answers) coming(ctx context.Context, v Volume) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget()
	last := a.all[v.Path]
	if last == nil {
		last = &answer{}
		a.all[v.Path] = last
	}
	if last.coming == nil && (last.err != nil || time.Since(last.at) >= recent) {
		last.coming = make(chan struct{})
		go a.fetch(context.WithoutCancel(ctx), v, last)
	}
	return last.coming
}

// fetch asks, for a while.
func (a *answers) fetch(ctx context.Context, v Volume, into *answer) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	s, err := v.Ask(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	into.at, into.stats, into.err = time.Now(), s, err
	close(into.coming)
	into.coming = nil
}

// forget drops what nobody asks for any more. The caller holds a.mu.
func (a *answers) forget() {
	if a.all == nil {
		a.all = map[string]*answer{}
	}
	for path, last := range a.all {
		if last.coming == nil && time.Since(last.at) > 2*recent {
			delete(a.all, path)
		}
	}
}
