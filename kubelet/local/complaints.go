package local

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// How many complaints are remembered: kinds of them, and pods with one.
const (
	maxComplaints = 32
	maxPods       = 256
)

// eventMessage is what the log says of events; their own words are attributes.
const eventMessage = "event"

// Complaints remembers what the loop has warned of. It listens to the loop's
// log: whatever is worth a warning there is known here.
type Complaints struct {
	mu   sync.Mutex
	all  map[string]Complaint // by message
	pods map[string]Failure   // the last warning of each pod, by "namespace/name"
}

// NewComplaints returns a memory without any.
func NewComplaints() *Complaints {
	return &Complaints{all: map[string]Complaint{}, pods: map[string]Failure{}}
}

// Handler returns a handler of log records that remembers warnings and passes
// everything on.
func (c *Complaints) Handler(next slog.Handler) slog.Handler { return &listener{next: next, to: c} }

// All returns the complaints, the last first.
func (c *Complaints) All() []Complaint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.all), func(a, b Complaint) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Message, b.Message))
	})
}

// OfPod returns what was warned of last about a pod, nil if nothing was.
func (c *Complaints) OfPod(key string) *Failure {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.pods[key]; ok {
		return &f
	}
	return nil
}

// Keep forgets the pods that are not among those named.
func (c *Complaints) Keep(keys map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.pods, func(key string, _ Failure) bool { return !keys[key] })
}

// note takes in a record.
func (c *Complaints) note(at time.Time, message string, attrs map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key := attrs["pod"]; message == eventMessage {
		if _, known := c.pods[key]; key != "" && (known || len(c.pods) < maxPods) {
			c.pods[key] = Failure{Text: attrs["message"], Container: attrs["container"], At: at}
		}
		return
	}
	was, known := c.all[message]
	if !known && len(c.all) == maxComplaints {
		c.dropOldest()
	}
	c.all[message] = Complaint{
		Message: message, Of: cmp.Or(attrs["pod"], attrs["path"]), Err: attrs["err"], Count: was.Count + 1, Last: at,
	}
}

func (c *Complaints) dropOldest() {
	oldest := ""
	for message, is := range c.all {
		if oldest == "" || is.Last.Before(c.all[oldest].Last) {
			oldest = message
		}
	}
	delete(c.all, oldest)
}

// A listener is a slog.Handler on the way to another.
type listener struct {
	next  slog.Handler
	to    *Complaints
	attrs []slog.Attr // of a logger that has some
}

// Enabled implements slog.Handler: warnings are heard whatever the log is to show.
func (l *listener) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || l.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (l *listener) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		attrs := make(map[string]string, len(l.attrs)+r.NumAttrs())
		for _, a := range l.attrs {
			attrs[a.Key] = a.Value.String()
		}
		r.Attrs(func(a slog.Attr) bool {
			attrs[a.Key] = a.Value.String()
			return true
		})
		l.to.note(r.Time, r.Message, attrs)
	}
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *listener) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &listener{l.next.WithAttrs(attrs), l.to, slices.Concat(l.attrs, attrs)}
}

// WithGroup implements slog.Handler.
func (l *listener) WithGroup(name string) slog.Handler {
	return &listener{l.next.WithGroup(name), l.to, l.attrs}
}
