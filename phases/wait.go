package phases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"boot.internal/backoff"
	"boot.internal/config"
)

// Service is the kubelet loop as something that lives on after boot: started by
// a service manager or supervised.
type Service interface {
	// Running says whether the loop runs.
	Running(ctx context.Context) (bool, error)
	// Start starts the loop, and returns once it is started.
	Start(ctx context.Context) error
	// Stop ends the loop. Its pods go on running.
	Stop(ctx context.Context) error
}

const (
	// lookInterval is how often the containers are looked at while they are
	// waited for.
	lookInterval = 500 * time.Millisecond
	// planTimeout is how long a healthy component may take to say so, before it
	// is waited for in the open.
	planTimeout = 2 * time.Second
	// lookShare and askShare are what part of the time may go into looking at
	// containers, and into asking one component: one in so many.
	lookShare, askShare = 10, 4
	// maxAskPause is how long a component may be healthy without being asked.
	maxAskPause = time.Second
	// maxExits of one component end the wait: it will not come up by waiting.
	maxExits = 3
)

// A waitControlPlane waits until the control plane is healthy, or shows why it
// will not be.
type waitControlPlane struct {
	probes     []probe
	components Components
	service    Service
	timeout    time.Duration
	begun      time.Time // when the run that waits began
	log        LoopLog
	node       string // name of this node
	met        bool   // all were found healthy by waiting for them
}

// forAPIServer returns the wait for those components alone that the others need.
func (p *waitControlPlane) forAPIServer() *waitControlPlane {
	first := *p
	last := slices.IndexFunc(p.probes, func(q probe) bool { return q.pod == config.ComponentAPIServer })
	first.probes = p.probes[:last+1]
	return &first
}

// Plan implements Phase. Who has been waited for is not asked again: on a slow host
// a component that is healthy may well take longer to say so than a plan does.
func (p *waitControlPlane) Plan(ctx context.Context) ([]Change, error) {
	if p.met {
		return nil, nil
	}
	sick := p.sick(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(sick) == 0 {
		return nil, nil
	}
	return []Change{{"wait for " + strings.Join(sick, ", "), p.wait}}, nil
}

// sick asks all components at once and returns those that are not healthy. One
// that takes connections and does not answer is not, and keeps nobody waiting.
func (p *waitControlPlane) sick(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	errs := make([]error, len(p.probes))
	var group sync.WaitGroup
	for i, probe := range p.probes {
		group.Go(func() { errs[i] = probe.ask(ctx) })
	}
	group.Wait()
	var sick []string
	for i, err := range errs {
		if err != nil {
			sick = append(sick, p.probes[i].pod)
		}
	}
	return sick
}

// A verdict is what one round of asking a component came to.
type verdict struct {
	probe int
	err   error
}

// A sight is what one look at the containers came to.
type sight struct {
	containers []Component
	err        error
}

// wait follows the probes and the containers until all are well, time is up or
// one component has ended too often.
func (p *waitControlPlane) wait(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	verdicts, sights := make(chan verdict), make(chan sight)
	for i := range p.probes {
		go p.follow(limited, i, verdicts)
	}
	go p.look(limited, sights)

	w := newWatcher(p.probes, p.begun)
	for {
		w.tell(ctx)
		select {
		case v := <-verdicts:
			if w.heard(v); w.healthy() {
				p.met = true
				return nil
			}
		case s := <-sights:
			if sick, ends := w.saw(s); sick != "" {
				return p.report(ctx, w, sick, fmt.Sprintf("%s ended %d times", sick, ends))
			}
		case <-limited.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("%w while waiting for %s", context.Cause(ctx), w.awaited())
			}
			return p.report(ctx, w, w.first(), fmt.Sprintf("%s is not healthy after %s", w.first(), p.timeout))
		}
	}
}

// pauseAfter returns how long to wait after a look that took so long, for the sake of
// a machine so slow that a look takes long: those who are looked at need it more than
// the one who looks, who gets one part in so many as share.
func pauseAfter(took time.Duration, share int, least, most time.Duration) time.Duration {
	return min(max(least, took*time.Duration(share-1)), most)
}

// look looks at the containers again and again. An engine that does not answer
// must not keep anybody from hearing that all are well.
func (p *waitControlPlane) look(ctx context.Context, sights chan<- sight) {
	for pause := lookInterval; ; {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		begin := time.Now()
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		containers, err := p.components.Look(limited)
		cancel()
		if ctx.Err() != nil {
			return // time was up in between: what was seen before says more
		}
		pause = pauseAfter(time.Since(begin), lookShare, lookInterval, callTimeout)
		select {
		case sights <- sight{containers, err}:
		case <-ctx.Done():
			return
		}
	}
}

// follow asks one component again and again, until it is healthy.
func (p *waitControlPlane) follow(ctx context.Context, i int, verdicts chan<- verdict) {
	for {
		begin := time.Now()
		err := p.probes[i].ask(ctx)
		pause := pauseAfter(time.Since(begin), askShare, pollInterval, maxAskPause)
		if ctx.Err() != nil {
			return
		}
		select {
		case verdicts <- verdict{i, err}:
		case <-ctx.Done():
			return
		}
		if err == nil {
			return
		}
		if !backoff.Sleep(ctx, pause) {
			return
		}
	}
}
