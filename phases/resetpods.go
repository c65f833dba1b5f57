package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/process"
)

// Pods are those that boot runs on this node. It is implemented over the
// container engine: there need be no loop and no API server.
type Pods interface {
	// List returns all that the engine has anything of.
	List(ctx context.Context) ([]Pod, error)
	// Remove stops the pod as it wants to be stopped, and removes what the
	// engine has of it.
	Remove(ctx context.Context, p Pod) error
}

// A Pod is one pod on this node.
type Pod struct {
	Namespace, Name string
	Static          bool // it comes from a manifest, not from the API
}

// String returns namespace/name.
func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// A stopPods stops the pods, those at the same time that do not need each
// other.
type stopPods struct {
	pods   Pods
	own    OwnEngine // nil: the engine of somebody else
	strays func() ([]process.ID, error)
	// gaveUp are the pods that boot's own engine could not stop. They end with
	// it.
	gaveUp map[Pod]bool
}

func newStopPods(pods Pods, own OwnEngine, strays func() ([]process.ID, error)) *stopPods {
	return &stopPods{pods, own, strays, map[Pod]bool{}}
}

// Plan implements Phase.
func (s *stopPods) Plan(ctx context.Context) ([]Change, error) {
	all, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, group := range stopOrder(all) {
		var names []string
		for _, p := range group {
			names = append(names, p.String())
		}
		changes = append(changes, Change{"stop " + strings.Join(names, ", "), func(ctx context.Context) error {
			return s.stop(ctx, group)
		}})
	}
	return changes, nil
}

// list returns what there is to stop. Whatever boot's own engine cannot be
// asked for ends with it, in the next phase.
func (s *stopPods) list(ctx context.Context) ([]Pod, error) {
	if s.own != nil {
		if running, err := s.own.Running(); err != nil || !running {
			return nil, err
		}
	}
	all, err := s.pods.List(ctx)
	if err == nil {
		return slices.DeleteFunc(all, func(p Pod) bool { return s.gaveUp[p] }), nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if s.own != nil {
		warn(ctx, fmt.Sprintf("the container engine does not tell its pods, and so they are killed: %v", err))
		return nil, nil
	}
	return nil, s.unreachable(ctx, err)
}

// unreachable decides what it means that the engine of somebody else does not
// answer: nothing, where no pod runs.
func (s *stopPods) unreachable(ctx context.Context, err error) error {
	left, failed := s.strays()
	if failed != nil {
		return failed
	}
	if len(left) > 0 {
		return hint.With(fmt.Errorf("list the pods: %w", err), "pods run, and only their engine can remove them: start it, and run 'boot reset' again")
	}
	warn(ctx, fmt.Sprintf("the container engine does not answer; it may know of pods that do not run: %v", err))
	return nil
}

// stop stops the pods of one group.
func (s *stopPods) stop(ctx context.Context, group []Pod) error {
	failed := make([]error, len(group))
	var all sync.WaitGroup
	for i, p := range group {
		all.Go(func() { failed[i] = s.pods.Remove(ctx, p) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.own == nil {
		return errors.Join(failed...)
	}
	for i, err := range failed {
		if err != nil {
			s.gaveUp[group[i]] = true
			warn(ctx, fmt.Sprintf("%s does not stop, and so it is killed: %v", group[i], err))
		}
	}
	return nil
}

// stopOrder groups the pods: those that use the cluster go first, and those
// that make it up go in the order in which they need each other.
func stopOrder(pods []Pod) [][]Pod {
	order := [][]string{
		{config.ComponentProxy},
		{config.ComponentScheduler, config.ComponentControllerManager},
		{config.ComponentAPIServer},
		{config.ComponentEtcd},
	}
	groups := make([][]Pod, 1+len(order))
	for _, p := range pods {
		i := slices.IndexFunc(order, func(components []string) bool { return slices.ContainsFunc(components, p.is) })
		groups[i+1] = append(groups[i+1], p)
	}
	for _, group := range groups {
		slices.SortFunc(group, func(a, b Pod) int { return strings.Compare(a.String(), b.String()) })
	}
	return slices.DeleteFunc(groups, func(group []Pod) bool { return len(group) == 0 })
}

// is says whether the pod is this component of the control plane.
func (p Pod) is(component string) bool {
	return p.Static && p.Namespace == metav1.NamespaceSystem && strings.HasPrefix(p.Name, component+"-")
}
