package kubelet

import (
	"context"
	"log/slog"
	"maps"
	goruntime "runtime"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/status"
)

// admission is what the dispatcher admits pods by.
func (k *kubelet) admission() admission {
	return admission{
		node: k.offered, before: k.before, resumed: k.placeRunning, over: k.isOver,
		rejected: k.sayRejected, forget: k.writer.Forget,
	}
}

// setNode notes what there is for pods, by the Node object if there is one. When
// that changes, what was rejected may be admitted.
func (k *kubelet) setNode(n *v1.Node) {
	k.offer(func(now *admit.Node) {
		now.Labels, now.Taints, now.Allocatable = k.nodeLabels(n), taintsOf(n), withExtended(k.allocatable(), n)
		if k.devices != nil {
			now.Devices = k.devices.Offer()
		}
	})
}

// nodeLabels returns the labels of the Node object, or those it will have.
func (k *kubelet) nodeLabels(n *v1.Node) map[string]string {
	labels := map[string]string{}
	if n != nil {
		maps.Copy(labels, n.Labels)
	} else {
		labels[v1.LabelHostname], labels[v1.LabelArchStable] = k.o.Node, goruntime.GOARCH
		maps.Copy(labels, k.o.Labels)
	}
	labels[v1.LabelOSStable] = goruntime.GOOS // whatever others say
	return labels
}

// allocatable returns what there is for pods, but for what could not be found
// out: no pod is rejected for that.
func (k *kubelet) allocatable() v1.ResourceList {
	capacity, left, err := k.node.Resources()
	if err != nil { // told at the start already
		maps.DeleteFunc(left, func(name v1.ResourceName, _ resource.Quantity) bool {
			q := capacity[name]
			return q.IsZero()
		})
	}
	return left
}

// before lists what runs until the engine tells.
func (k *kubelet) before(ctx context.Context) map[pod.Key][]types.UID {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		all, err := k.runtime.Keys(ctx)
		if err == nil {
			return uids(all)
		}
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "list what runs", slog.Any("err", err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// uids returns the UIDs of all that there is under each key.
func uids(all map[pod.Key]runtime.Summary) map[pod.Key][]types.UID {
	found := make(map[pod.Key][]types.UID, len(all))
	for key, sum := range all {
		for _, s := range sum.Sandboxes {
			found[key] = append(found[key], s.UID)
		}
	}
	return found
}

// sayRejected tells why a pod may not run. Its status is the whole of it: there
// is nothing else to say of a pod that is not there.
func (k *kubelet) sayRejected(p *v1.Pod, why admit.Rejection, news bool) {
	if news {
		k.events.ofPod(p, v1.EventTypeWarning, why.Reason, why.Message)
	}
	s := v1.PodStatus{
		ObservedGeneration: p.Generation, QOSClass: status.QOSClass(p), StartTime: new(metav1.Now().Rfc3339Copy()),
		Phase: v1.PodFailed, Reason: why.Reason, Message: "Pod was rejected: " + why.Message,
	}
	if before, ok := k.writer.Get(p.UID); ok {
		s.Conditions = before.Conditions
		if before.StartTime != nil {
			s.StartTime = before.StartTime
		}
	}
	k.writer.Set(p, s)
}

// noteOver notes whether nothing of a pod runs or will, while it is desired. When
// a pod is over, its place is free.
func (k *kubelet) noteOver(uid types.UID, over bool) {
	k.mu.Lock()
	changed := k.over[uid] != over
	if over {
		k.over[uid] = true
	} else {
		delete(k.over, uid)
	}
	k.mu.Unlock()
	if changed && over {
		k.podEnded()
		k.dispatch.recheck()
	}
}

func (k *kubelet) isOver(uid types.UID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over[uid]
}
