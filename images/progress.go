package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// heartbeat is how often the steps under way are named: a build that takes
// minutes must not look dead in a log.
const heartbeat = 30 * time.Second

// A progress tells what begins and ends, one line each.
type progress struct {
	out   io.Writer
	start time.Time

	mu      sync.Mutex // guards out and running
	running map[string]time.Time
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, start: time.Now(), running: map[string]time.Time{}}
}

// track runs do between a line for its start and one for its end.
func (p *progress) track(name string, do func() error) error {
	begin := time.Now()
	p.mu.Lock()
	p.running[name] = begin
	p.say("%s ...", name)
	p.mu.Unlock()

	err := do()

	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, name)
	took := time.Since(begin).Round(100 * time.Millisecond)
	if err != nil {
		p.say("%s failed after %s", name, took)
		return err
	}
	p.say("%s done in %s", name, took)
	return nil
}

// note tells something that takes no time.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say(format, args...)
}

// say writes a line. The caller holds the lock. An output that cannot be
// written to is no reason to stop a build.
func (p *progress) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, "%7.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// beat names what is under way every now and then, until ctx ends.
func (p *progress) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.still()
		}
	}
}

func (p *progress) still() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, name := range sortedKeys(p.running) {
		names = append(names, fmt.Sprintf("%s (%s)", name, time.Since(p.running[name]).Round(time.Second)))
	}
	if len(names) > 0 {
		p.say("still at %s", strings.Join(names, ", "))
	}
}
