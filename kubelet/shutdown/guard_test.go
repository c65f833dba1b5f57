package shutdown

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
)

// A machine is one that goes down at the word of a test.
type machine struct {
	*testing.T
	g      *Guard
	events chan bool
	start  time.Time

	mu   sync.Mutex
	err  error // of the next Connect
	pods []*v1.Pod
	said []string
}

func newMachine(t *testing.T, groups []Group, pods ...*v1.Pod) *machine {
	m := &machine{T: t, events: make(chan bool), pods: pods, start: time.Now()}
	m.g = New(Options{
		Groups: groups,
		Connect: func(context.Context) (Logind, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m, m.err
		},
		Pods: func() []*v1.Pod {
			m.mu.Lock()
			defer m.mu.Unlock()
			return slices.Clone(m.pods)
		},
		Stop:  func(p *v1.Pod, grace time.Duration) { m.say("stop %s in %s", p.Name, grace) },
		Gone:  m.gone,
		Down:  func(down bool) { m.say("down %t", down) },
		Began: func(time.Time) { m.say("began") },
		Ended: func(time.Time) { m.say("ended") },
		Log:   slog.New(slog.DiscardHandler),
	})
	return m
}

func (m *machine) run() (done chan struct{}) {
	ctx, cancel := context.WithCancel(m.Context())
	done = make(chan struct{})
	go func() {
		defer close(done)
		m.g.Run(ctx)
	}()
	m.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return done
}

func (m *machine) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, fmt.Sprintf(format, args...))
}

func (m *machine) want(what string, said ...string) {
	m.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if got, want := strings.Join(m.said, "; "), strings.Join(said, "; "); got != want {
		m.Errorf("%s, after %s: %q, want %q", what, time.Since(m.start), got, want)
	}
	m.said = nil
}

func (m *machine) gone(p *v1.Pod) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !slices.Contains(m.pods, p)
}

func (m *machine) end(names ...string) {
	m.mu.Lock()
	m.pods = slices.DeleteFunc(m.pods, func(p *v1.Pod) bool { return slices.Contains(names, p.Name) })
	m.mu.Unlock()
	m.g.Poke()
}

func (m *machine) Delay(_ context.Context, d time.Duration) error { m.say("delay %s", d); return nil }

func (m *machine) Inhibit(context.Context) (func() error, error) {
	m.say("lock")
	return func() error { m.say("unlock"); return nil }, nil
}

func (m *machine) Events(context.Context) (<-chan bool, error) {
	m.say("listen")
	return m.events, nil
}

func (m *machine) Close() error { m.say("close"); return nil }

func TestPodsEndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		brief := testPod("brief", 0)
		brief.Spec.TerminationGracePeriodSeconds = new(int64(1))
		m := newMachine(t, []Group{{0, 20 * time.Second}, {100, 5 * time.Second}, {critical, 10 * time.Second}},
			testPod("system", critical), brief, testPod("web", 5))
		m.run()
		m.want("shutdowns wait", "delay 35s", "listen", "lock")
		m.events <- true
		m.want("the least important end first", "down true", "began", "stop brief in 1s", "stop web in 20s")
		m.end("brief")
		time.Sleep(19 * time.Second)
		m.want("the others wait for them")
		m.end("web")
		m.want("a group without pods takes no time", "stop system in 10s")
		time.Sleep(9 * time.Second)
		m.want("it may take its time")
		time.Sleep(2 * time.Second)
		m.want("but no longer", "ended", "unlock")
		m.events <- false
		m.want("called off", "down false", "lock")
	})
}

func TestLogindIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, []Group{{0, time.Second}})
		m.run()
		m.want("at first", "delay 1s", "listen", "lock")
		m.mu.Lock()
		m.err = errors.New("not now")
		m.mu.Unlock()
		close(m.events)
		m.want("lost", "unlock", "close")
		time.Sleep(3 * time.Second)
		m.mu.Lock()
		m.err, m.events = nil, make(chan bool)
		m.mu.Unlock()
		time.Sleep(time.Second)
		m.want("found again", "delay 1s", "listen", "lock")
	})
}

func TestWithoutLogind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, []Group{{0, time.Second}})
		m.err = fmt.Errorf("%w: no such file", ErrNone)
		<-m.run()
		m.want("nothing is done")
	})
}
