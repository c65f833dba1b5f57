package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/node"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// relistInterval is how often everything that runs is listed in case an event
// was lost: the event stream is the mechanism, this the net beneath it. Where
// the engine has no event stream, pollInterval takes its place.
const (
	relistInterval = 30 * time.Second
	pollInterval   = time.Second
)

// hearEngine pokes the pods that the engine has news of. It returns when ctx
// ends, or at once if the engine has no events.
func (k *kubelet) hearEngine(ctx context.Context) error {
	err := k.runtime.Events(ctx, func(n runtime.News) {
		if k.looks.news(n) {
			k.dispatch.poke(ctx, n.Key)
		}
	})
	if errors.Is(err, runtime.ErrNoEvents) {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "container engine has no event stream: list every second instead")
		k.relist(ctx, pollInterval)
		return nil
	}
	return err
}

// relist lists what runs, at once and then at the interval, until ctx ends.
func (k *kubelet) relist(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	old := attic{}
	for {
		start := time.Now()
		if all, err := k.runtime.Keys(ctx); err == nil {
			k.metrics.figures.listed(time.Since(start), time.Now())
			k.tellRunning(ctx, all)
			k.tidy(ctx, all, old)
		} else if ctx.Err() == nil {
			k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "list what runs", slog.Any("err", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tellRunning hands a list of what runs to the dispatcher.
func (k *kubelet) tellRunning(ctx context.Context, all map[pod.Key]runtime.Summary) {
	list := make([]found, 0, len(all))
	for key, sum := range all {
		list = append(list, found{key: key, origin: origin(sum), changed: k.looks.differ(key, sum.States)})
	}
	for _, key := range k.looks.missing(all) {
		list = append(list, found{key: key, changed: true})
	}
	select {
	case k.dispatch.listed <- list:
	case <-ctx.Done():
	}
}

// origin returns where the newest sandbox of a key is from.
func origin(sum runtime.Summary) string {
	if len(sum.Sandboxes) == 0 {
		return ""
	}
	return sum.Sandboxes[0].Source
}

// tidy removes what pods left on disk and in cgroups of which neither the
// engine nor a source knows anything: boot may have been away when they went.
func (k *kubelet) tidy(ctx context.Context, all map[pod.Key]runtime.Summary, old attic) {
	if _, known := k.knownUIDs(); !known {
		return
	}
	ctx, end := k.tracer.CollectContainers(ctx)
	wanted := func() map[types.UID]bool { // of a pod that starts meanwhile nothing is left
		keep, _ := k.knownUIDs()
		for _, sum := range all {
			for _, s := range sum.Sandboxes {
				keep[s.UID] = true
			}
		}
		return keep
	}
	err := errors.Join(k.volumes.Reap(ctx, wanted), k.cgroups.Reap(wanted))
	defer end(err)
	if err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "clean up after pods of the past", slog.Any("err", err))
	}
	k.users.Reap()
	keep := wanted()
	k.ledger.Keep(keep)
	k.devices.Keep(keep)
	k.places.keep(keep)
	k.claims.Keep(keep)
	old.sweep(ctx, k, keep, time.Now())
}

// knownUIDs returns the UIDs that are wanted or on their way out. It is not
// known before the sources have had their say.
func (k *kubelet) knownUIDs() (uids map[types.UID]bool, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	uids = map[types.UID]bool{}
	for _, list := range [][]*v1.Pod{k.now, k.going, k.heard} {
		for _, p := range list {
			uids[p.UID] = true
		}
	}
	return uids, k.said
}

// networkInterval is how often the engine is asked whether the pod network is
// up; it has no event for that. While it is down it is asked more often.
const (
	networkInterval     = 10 * time.Second
	networkDownInterval = 250 * time.Millisecond
)

// watchEngine keeps the engine's state for the gate below and for the node's
// conditions. When the network comes up, pods that wait for it are told.
func (k *kubelet) watchEngine(ctx context.Context) {
	for {
		s, err := k.runtime.Status(ctx)
		if ctx.Err() != nil {
			return
		}
		was := k.engine.Load()
		k.engine.Store(&engineState{s, was.version, err})
		if !was.NetworkReady && s.NetworkReady {
			k.diary.networkUp()
			k.dispatch.retry(ctx)
		}
		k.tellNode()
		wait := networkDownInterval
		if s.NetworkReady {
			wait = networkInterval
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// An engineState is the last that was heard of the engine.
type engineState struct {
	runtime.Status
	version string // "containerd://2.4.2"
	err     error  // why it did not answer
}

// tellNode says on the Node how the engine is.
func (k *kubelet) tellNode() {
	s := k.engine.Load()
	said := node.Runtime{Version: s.version, Err: s.err, Handlers: s.Handlers, Features: s.Features}
	switch {
	case s.err != nil:
	case !s.Ready:
		said.Err = errors.New(s.Message)
	case !s.NetworkReady:
		said.Network = errors.New(s.Message)
	}
	k.node.SetRuntime(said)
	k.desk.changed()
}

// sandboxOf returns the engine's ID of the ready sandbox of a pod.
func (k *kubelet) sandboxOf(ctx context.Context, uid types.UID) (string, error) {
	all, err := k.runtime.Keys(ctx)
	if err != nil {
		return "", err
	}
	for _, sum := range all {
		for _, s := range sum.Sandboxes {
			if s.UID == uid && s.Ready {
				return s.ID, nil
			}
		}
	}
	return "", fmt.Errorf("pod %s has no sandbox that is ready", uid)
}

// health says what is wrong with the loop, if anything.
func (k *kubelet) health() error {
	s := k.engine.Load()
	if s == nil {
		return errors.New("container engine does not answer yet")
	}
	return s.err
}

func (k *kubelet) networkReady() bool {
	s := k.engine.Load()
	return s != nil && s.NetworkReady
}

// runtimeName returns the name of the engine, the scheme of container IDs.
func (k *kubelet) runtimeName() string {
	name, _, _ := strings.Cut(k.engine.Load().version, "://")
	return name
}

// A gate is the runtime for workers: no pod gets a sandbox before that can go
// well.
type gate struct {
	*runtime.Runtime
	k *kubelet
}

var errNoNetwork = errors.New("network is not ready: container runtime network not ready")

// Do executes an action, see do, and notes it.
func (g gate) Do(ctx context.Context, p *v1.Pod, a pod.Action) error {
	ended := g.k.diary.acting(p, a)
	err := g.do(ctx, p, a)
	ended(err)
	return err
}

// do executes an action. A sandbox waits for its image, where that is being
// imported; one that needs the pod network is refused until that is up (SP-36).
func (g gate) do(ctx context.Context, p *v1.Pod, a pod.Action) error {
	if _, ok := a.(pod.CreateSandbox); ok {
		if !pod.IsHostNetwork(p) && !g.k.networkReady() {
			return &pod.ActionError{Reason: "NetworkNotReady", Retry: networkInterval, Err: errNoNetwork}
		}
		if g.k.o.Importing != nil {
			if err := g.k.o.Importing(ctx, g.k.o.SandboxImage); err != nil {
				return &pod.ActionError{Reason: "FailedCreatePodSandBox", Err: err}
			}
		}
	}
	if _, ok := a.(pod.CreateSandbox); ok {
		if err := g.k.lendDevices(ctx, p); err != nil {
			return err
		}
		if err := g.k.prepareClaims(ctx, p); err != nil {
			return err
		}
	}
	g.k.starting(p, a)
	if err := g.attempt(ctx, p, a); err != nil {
		g.k.overLimit(ctx, p, err)
		return err
	}
	g.k.resized(p, a)
	return nil
}
