package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// syncKey is where the context of a go at a pod has what the go is.
type syncKey struct{}

// syncs notes the gos at a pod from now on, and how they went.
func (n *node) syncs() func() []string {
	var said []string
	n.worker.o.Sync = func(ctx context.Context, s pod.Sync) (context.Context, func(error)) {
		return context.WithValue(ctx, syncKey{}, s), func(err error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			how := "well"
			if err != nil {
				how = err.Error()
			}
			said = append(said, s.Key.Name+" "+string(s.UID)+": "+string(s.Kind)+" went "+how)
		}
	}
	return func() (all []string) {
		n.mu.Lock()
		defer n.mu.Unlock()
		all, said = said, nil
		return all
	}
}

func TestSyncs(t *testing.T) {
	test(t, func(t *testing.T, n *node) {
		said := n.syncs()
		expect := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, said()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		n.worker.o.Release = func(ctx context.Context, _ *v1.Pod) error { return aboutThis(ctx, "2") }
		n.worker.o.Clean = func(ctx context.Context, _ pod.Key, uid types.UID) error { return aboutThis(ctx, uid) }
		n.pull = func(ctx context.Context, _ string) error { return aboutThis(ctx, "1") }
		n.want(testPod("1"))
		expect("p 1: create went well", "p 1: sync went well") // the sandbox, and what is in it
		n.cri.Exit("main", 1)
		pass(time.Minute)
		expect("p 1: sync went well")
		n.pull = nil
		n.want(testPod("1", func(p *v1.Pod) { p.Spec.Containers[0].Image = "i:2" }))
		pass(time.Minute)
		expect("p 1: update went well", "p 1: sync went well")
		n.want(testPod("2", func(p *v1.Pod) { p.Spec.RestartPolicy = v1.RestartPolicyNever }))
		expect("p 1: terminating went well", "p 2: create went well", "p 2: sync went well", "p 1: terminated went well")
		n.cri.Exit("main", 0)
		pass(time.Minute)
		expect("p 2: sync went well", "p 2: terminated went well")
		n.want(nil)
		pass(time.Minute)
		expect("p 2: terminating went well", "p 2: terminated went well")
	})
}

// aboutThis fails unless it is called for a go at this pod.
func aboutThis(ctx context.Context, uid types.UID) error {
	if s, ok := ctx.Value(syncKey{}).(pod.Sync); !ok || s.UID != uid {
		return errors.New("this go is another")
	}
	return nil
}

func TestSyncsThatFail(t *testing.T) {
	test(t, func(t *testing.T, n *node) {
		said := n.syncs()
		n.cri.Fail("RunPodSandbox", 1, errors.New("no cgroup"))
		n.want(testPod("1"))
		pass(time.Minute)
		got := said()
		if len(got) != 3 || got[1] != "p 1: create went well" || !strings.Contains(got[0], "p 1: create went create sandbox: ") || !strings.Contains(got[0], "no cgroup") {
			t.Errorf("%q", got)
		}
	})
}
