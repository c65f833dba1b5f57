package phases

import (
	"context"
	"fmt"
	"time"
)

// A replaced is the pod of a rollout while it is waited for.
type replaced struct {
	rollout
	uid     string // of the pod that is to be
	watcher *watcher
	probe   probe
	well    time.Time // since when it is: zero while it is not
	exits   int       // seen when it became so
}

// await waits until the pod of a manifest runs, is healthy and stays so.
func (r rollout) await(ctx context.Context, manifest []byte) error {
	uid, err := r.Identify(manifest, r.path())
	if err != nil {
		return fmt.Errorf("read the manifest of %s: %w", r.component, err)
	}
	ask, err := ownProbe(manifest)
	if err != nil {
		return fmt.Errorf("read the manifest of %s: %w", r.component, err)
	}
	p := probe{r.component, ask}
	a := &replaced{rollout: r, uid: uid, probe: p, watcher: newWatcher([]probe{p}, time.Now())}
	return a.wait(ctx)
}

// wait looks again and again. Looking comes first: a probe may well be answered by
// the pod that is about to end.
func (a *replaced) wait(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		if ends := a.look(limited); ends > 0 {
			return a.fail(ctx, fmt.Sprintf("%s ended %d times", a.component, ends))
		}
		if !a.well.IsZero() && time.Since(a.well) >= a.Stable {
			return nil
		}
		a.watcher.tell(ctx)
		select {
		case <-tick.C:
		case <-limited.Done():
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w while waiting for %s", context.Cause(ctx), a.component)
		case limited.Err() != nil:
			return a.fail(ctx, fmt.Sprintf("%s is not healthy after %s", a.component, a.Timeout))
		}
	}
}

// look takes in how the pod is, and returns how often it has ended if that is too
// often: 0 otherwise.
func (a *replaced) look(ctx context.Context) (ends int) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := a.Components.Look(limited)
	if ctx.Err() != nil {
		return 0 // time was up in between: what was seen before says more
	}
	own := a.own(all)
	if a.runs(own) {
		a.watcher.heard(verdict{err: a.probe.ask(limited)})
	} else {
		a.watcher.heard(verdict{err: fmt.Errorf("%s does not run with its new manifest", a.component)})
	}
	_, ends = a.watcher.saw(sight{own, err})
	a.judge(own)
	return ends
}

// own are the containers of the awaited pod among all.
func (a *replaced) own(all []Component) []Component {
	var own []Component
	for _, c := range all {
		if c.Pod == a.component && c.PodUID == a.uid {
			own = append(own, c)
		}
	}
	return own
}

func (a *replaced) runs(own []Component) bool {
	for _, c := range own {
		if c.State != ContainerRunning {
			return false
		}
	}
	return len(own) > 0
}

// judge notes since when the pod is well. An end in between begins it anew.
func (a *replaced) judge(own []Component) {
	exits := 0
	for _, c := range own {
		exits += c.exits()
	}
	switch {
	case a.watcher.lookErr != nil, !a.watcher.healthy():
		a.well = time.Time{}
	case a.well.IsZero(), exits != a.exits:
		a.well, a.exits = time.Now(), exits
	}
}

// fail makes the error, with exit codes and the ends of logs.
func (a *replaced) fail(ctx context.Context, ended string) error {
	p := waitControlPlane{service: a.Service, log: a.LoopLog, node: a.Node}
	return p.report(ctx, a.watcher, a.component, ended)
}
