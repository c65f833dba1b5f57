// Package probe asks running containers how they are, as their pods say, and
// keeps the last answers.
//
// It decides when a probe is tried, what counts as an answer and how many of
// them make a verdict. What follows from a verdict is left to others: they are
// poked when one changes, and read it when they next look.
//
// Everything is kept by container ID, so a container that is started again
// begins anew, and a goroutine whose probe has said its last word simply ends.
//
// There are two differences to the upstream kubelet. While a container has not
// started, a startup probe over the network is also tried between its periods,
// and so is a readiness probe until the container is ready for the first time.
// Such early attempts can only succeed, they never count as failures. So a
// container of a long period is found started and ready when it is, and killed no
// sooner. And between the first two attempts of a liveness or readiness probe there may
// be up to a second more than its period, so that it comes to be asked along with others.
package probe

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Options are what a Prober needs of others.
type Options struct {
	// Exec runs a command in a container. An error that wraps
	// context.DeadlineExceeded says that the command took too long, any other
	// that it could not be run.
	Exec func(ctx context.Context, containerID string, cmd []string, timeout time.Duration) (out []byte, exit int, err error)
	// Poke is told of every pod with a verdict that changed. It must not block.
	Poke func(key pod.Key)
	// Event is told of every failure. It must not block.
	Event func(p *v1.Pod, container, typ, reason, msg string)
	// HostIPs returns the addresses of the node, for pods on its network.
	HostIPs func() []string
	Logger  *slog.Logger
}

// seedAge is how long a container must have run for its earlier verdict to
// count after a restart of boot (IC-26).
const seedAge = 10 * time.Second

// A Prober probes the containers of all pods of the node.
type Prober struct {
	Options
	handle  func(ctx context.Context, c *container, probe *v1.Probe) (answer, error)
	probes  sync.WaitGroup // the goroutines
	tally   *tally
	moments *moments

	mu         sync.Mutex // guards what follows, and the verdicts of the containers
	containers map[string]*container
	seeds      map[string]pod.Verdict
	stopped    bool
}

// New returns a Prober that probes nothing yet.
func New(o Options) *Prober {
	p := &Prober{Options: o, tally: newTally(), moments: newMoments(), containers: map[string]*container{}, seeds: map[string]pod.Verdict{}}
	p.handle = newHandlers(o).handle
	return p
}

// Sync makes sure that those containers are probed that run. p is the pod that
// is to run under its key, nil if none is. Once a container is stopping, or is
// not of p, it is asked for readiness alone, until it has stopped (IC-30).
func (pr *Prober) Sync(p *v1.Pod, have pod.Observed, stopping bool) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	keys, there := map[pod.Key]bool{}, map[string]bool{}
	if p != nil {
		keys[pod.KeyOf(p)] = true
	}
	for _, seen := range have.Containers {
		there[seen.ID] = true
		wanted := p != nil && seen.PodUID == p.UID
		c := pr.containers[seen.ID]
		if c == nil && wanted && seen.State == pod.Running {
			c = pr.add(p, seen, have)
		}
		if c == nil {
			continue
		}
		keys[c.key] = true
		switch {
		case seen.State == pod.Exited:
			c.end()
		case stopping || !wanted:
			c.endHealth()
		}
	}
	for id, c := range pr.containers {
		if keys[c.key] && !there[id] {
			pr.drop(c)
		}
	}
}

// Verdicts returns the last verdicts on the containers of a pod that have
// probes, by ID. That on a container which exited stays for as long as the
// runtime has it: why it was killed matters to what comes next (IC-16). Of a
// container of which nothing is known yet there is no verdict: what was said of
// it before boot was restarted stands until there is (IC-26).
func (pr *Prober) Verdicts(key pod.Key) map[string]pod.Verdict {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	verdicts := map[string]pod.Verdict{}
	for id, c := range pr.containers {
		if c.key == key && c.known() {
			verdicts[id] = c.verdict()
		}
	}
	return verdicts
}

// Forget ends all probes of a pod and drops its verdicts.
func (pr *Prober) Forget(key pod.Key) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	for _, c := range pr.containers {
		if c.key == key {
			pr.drop(c)
		}
	}
}

// Seed tells what was known of a container before boot was restarted, so that
// its pod does not flap (IC-26). Whatever was not started then has to go through
// its startup probe still (IC-27). It counts for nothing where this Prober has
// a result of its own; a startup probe that has succeeded already says nothing
// of readiness.
func (pr *Prober) Seed(containerID string, v pod.Verdict) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	c := pr.containers[containerID]
	if c == nil {
		pr.seeds[containerID] = v
		return
	}
	unasked := c.verdict().Unasked && time.Since(c.startedAt) >= seedAge
	if !c.answered && !c.ended || unasked {
		v.Started = v.Started || c.started
		pr.seeds[containerID] = v
		c.endAll()
		pr.start(c)
	}
}

// Stop ends all probes, for good, and waits for them.
func (pr *Prober) Stop() {
	pr.mu.Lock()
	pr.stopped = true
	for _, c := range pr.containers {
		pr.drop(c)
	}
	pr.mu.Unlock()
	pr.probes.Wait()
}

func (pr *Prober) drop(c *container) {
	c.end()
	delete(pr.containers, c.id)
	delete(pr.seeds, c.id)
	for _, other := range pr.containers {
		if other.key == c.key && other.spec.Name == c.spec.Name {
			return // another instance of it
		}
	}
	pr.tally.forget(c)
}

// add begins to probe a container that runs, if it has probes.
func (pr *Prober) add(p *v1.Pod, seen pod.Container, have pod.Observed) *container {
	d, ok := pod.Find(p, seen.Name)
	if !ok || pr.stopped || d.StartupProbe == nil && d.LivenessProbe == nil && d.ReadinessProbe == nil {
		return nil
	}
	c := &container{
		key: pod.KeyOf(p), pod: p, spec: d.Container,
		id: seen.ID, ip: pr.address(seen, have), startedAt: seen.StartedAt,
	}
	pr.containers[c.id] = c
	pr.start(c)
	return c
}

// address returns where the container is reached.
func (pr *Prober) address(seen pod.Container, have pod.Observed) string {
	for _, s := range have.Sandboxes {
		if s.ID != seen.SandboxID {
			continue
		}
		ips := s.IPs
		if s.HostNetwork {
			ips = pr.HostIPs()
		}
		if len(ips) > 0 {
			return ips[0]
		}
	}
	return ""
}

// start starts the goroutines of a container, from what was known before.
func (pr *Prober) start(c *container) {
	c.started, c.ready = c.spec.StartupProbe == nil, c.spec.ReadinessProbe == nil
	v, known := pr.seeds[c.id]
	delete(pr.seeds, c.id)
	if known && time.Since(c.startedAt) >= seedAge {
		c.started = c.started || v.Started
		c.ready = c.ready || v.Ready
		c.seeded = true
	}
	ctx, end := context.WithCancel(context.Background())
	health, endHealth := context.WithCancel(ctx)
	c.endAll, c.endHealth = end, endHealth
	pr.probes.Go(func() { pr.run(ctx, health, c) })
}

// update changes the verdict on c by set, unless ctx has ended meanwhile, and
// pokes the pod if that changed what others see.
func (pr *Prober) update(ctx context.Context, c *container, set func()) (done bool) {
	pr.mu.Lock()
	if ctx.Err() != nil {
		pr.mu.Unlock()
		return false
	}
	before := c.verdict()
	set()
	c.answered = true
	after := c.verdict()
	pr.mu.Unlock()
	if before != after {
		pr.Logger.Debug("probe verdict changed", slog.String("pod", c.key.String()), slog.String("container", c.spec.Name),
			slog.Bool("started", after.Started), slog.Bool("ready", after.Ready), slog.Bool("unhealthy", after.Unhealthy != nil))
		pr.Poke(c.key)
	}
	return true
}
