package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/phases"
)

// podsUnknown are those of an engine that is not to be found.
type podsUnknown struct{ err error }

// List implements phases.Pods.
func (p podsUnknown) List(context.Context) ([]phases.Pod, error) { return nil, p.err }

// Remove implements phases.Pods.
func (p podsUnknown) Remove(context.Context, phases.Pod) error { return p.err }

// podsLeft are the pods that the engine has. They are stopped by the loop's own
// plan, and so with their hooks, in their order and with their grace.
type podsLeft struct {
	endpoint string
	own      bool   // all of the engine's pods are boot's
	dir      string // where boot keeps a directory for each of its pods
	log      *slog.Logger
}

const (
	// listTimeout is how long an engine may take to tell what it has.
	listTimeout = 10 * time.Second
	// maxGrace is what a pod has to end in, whatever it asks for: the node goes.
	maxGrace = 30 * time.Second
)

// List implements phases.Pods.
func (p podsLeft) List(ctx context.Context) ([]phases.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var all []phases.Pod
	err := p.dial(func(conn *runtime.Conn, r *runtime.Runtime) error {
		keys, err := r.Keys(ctx)
		if err != nil {
			return err
		}
		ours, err := p.ours(ctx, conn.Runtime)
		if err != nil {
			return err
		}
		for key, sum := range keys {
			if found := (phases.Pod{Namespace: key.Namespace, Name: key.Name}); ours(key, sum) {
				found.Static = len(sum.Sandboxes) > 0 && sum.Sandboxes[0].Source == pod.SourceFile
				all = append(all, found)
			}
		}
		return nil
	})
	return all, err
}

func (p podsLeft) dial(do func(*runtime.Conn, *runtime.Runtime) error) error {
	conn, err := runtime.Dial(p.endpoint, "")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return do(conn, runtime.New(runtime.Options{
		CRI: conn.Runtime, PodsDir: p.dir, PodLogsDir: podLogsDir, ContainerLogsDir: containerLogsDir,
		KillMessage: plan.Message, Event: func(*v1.Pod, string, string, string, string) {}, Log: p.log,
	}))
}

// ours tells boot's pods from those that another agent has left on an engine
// which is not boot's. Boot leaves a note on every container; of a pod that has
// none yet it has made the directory.
func (p podsLeft) ours(ctx context.Context, c cri.RuntimeServiceClient) (func(pod.Key, runtime.Summary) bool, error) {
	if p.own {
		return func(pod.Key, runtime.Summary) bool { return true }, nil
	}
	list, err := c.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	noted := map[pod.Key]bool{} // true if by boot
	for _, item := range list.Containers {
		key := pod.Key{Namespace: item.Labels[pod.LabelPodNamespace], Name: item.Labels[pod.LabelPodName]}
		noted[key] = noted[key] || item.Annotations[pod.AnnotationKind] != ""
	}
	return func(key pod.Key, sum runtime.Summary) bool {
		if byBoot, ok := noted[key]; ok {
			return byBoot
		}
		for _, s := range sum.Sandboxes {
			if p.hasDir(s.UID) {
				return true
			}
		}
		return false
	}, nil
}

func (p podsLeft) hasDir(uid types.UID) bool {
	_, err := os.Stat(filepath.Join(p.dir, string(uid)))
	return uid != "" && err == nil
}

// Remove implements phases.Pods.
func (p podsLeft) Remove(ctx context.Context, which phases.Pod) error {
	return p.dial(func(_ *runtime.Conn, r *runtime.Runtime) error {
		return removePod(ctx, r, pod.Key{Namespace: which.Namespace, Name: which.Name})
	})
}

// removePod looks, plans and acts until the pod is gone.
func removePod(ctx context.Context, r *runtime.Runtime, key pod.Key) error {
	const enough = 10 // rounds: to stop, to remove, and some for what comes between
	var begin time.Time
	for range enough {
		have, err := r.Observe(ctx, key)
		if err != nil {
			return err
		}
		for i := range have.Containers {
			have.Containers[i].Grace = min(have.Containers[i].Grace, maxGrace)
		}
		have.Stopping = begin
		now := time.Now()
		next := plan.For(nil, have, now)
		if next.Gone {
			return nil
		}
		if begin.IsZero() {
			begin = now
		}
		if err := act(ctx, r, next.Actions); err != nil {
			return err
		}
	}
	return errors.New("the container engine does not let go of it")
}

// act does the actions in order, and kills at the same time: they share a grace
// and wait for each other.
func act(ctx context.Context, r *runtime.Runtime, actions []pod.Action) error {
	var kills errgroup.Group
	for _, a := range actions {
		if _, ok := a.(pod.KillContainer); ok {
			kills.Go(func() error { return r.Do(ctx, nil, a) })
			continue
		}
		if err := kills.Wait(); err != nil {
			return err
		}
		if err := r.Do(ctx, nil, a); err != nil {
			return err
		}
	}
	return kills.Wait()
}
