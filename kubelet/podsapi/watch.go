package podsapi

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	api "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

// WatchPods tells of all pods, says that these were all, and then tells of every
// change. A watcher that is slow is told less of what was in between, but in the
// end how things are: nothing is kept for it, and it is never cut off.
//
//	           changed                          gone
//	ADDED ───────────────► MODIFIED ─┐ ───────────────► DELETED
//	                           ▲─────┘
func (s *Server) WatchPods(_ *api.WatchPodsRequest, stream grpc.ServerStreamingServer[api.WatchPodsEvent]) error {
	changed, stop := s.news.Listen()
	defer stop()
	told, err := s.tell(stream, nil)
	if err != nil {
		return err
	}
	if err := stream.Send(&api.WatchPodsEvent{Type: api.EventType_INITIAL_SYNC_COMPLETE}); err != nil {
		return err
	}
	for {
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
		if told, err = s.tell(stream, told); err != nil {
			return err
		}
	}
}

// tell sends what differs from what was told, and returns what is told now.
func (s *Server) tell(stream grpc.ServerStreamingServer[api.WatchPodsEvent], told map[types.UID]Pod) (map[types.UID]Pod, error) {
	pods, err := s.pods()
	if err != nil {
		return nil, err
	}
	events, now, err := changes(told, pods)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if err := stream.Send(e); err != nil {
			return nil, err
		}
	}
	return now, nil
}

// changes returns what a watcher has to be told, and what it knows then. What is
// gone comes first: a pod and its successor of the same name are not there at once.
func changes(told map[types.UID]Pod, pods []Pod) (events []*api.WatchPodsEvent, now map[types.UID]Pod, err error) {
	now = make(map[types.UID]Pod, len(pods))
	for _, p := range pods {
		now[p.UID] = p
	}
	add := func(what api.EventType, p *v1.Pod) {
		text, failed := encode(p)
		err = cmp.Or(err, failed)
		events = append(events, &api.WatchPodsEvent{Type: what, Pod: text})
	}
	for _, uid := range slices.Sorted(maps.Keys(told)) {
		if _, ok := now[uid]; !ok {
			add(api.EventType_DELETED, nameOf(told[uid].Pod))
		}
	}
	for _, p := range pods {
		before, known := told[p.UID]
		switch {
		case !known:
			add(api.EventType_ADDED, p.whole())
		case !p.same(before):
			add(api.EventType_MODIFIED, p.whole())
		}
	}
	return events, now, err
}

// nameOf returns what is told of a pod that is gone.
func nameOf(p *v1.Pod) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID}}
}

// same reports whether two pods of one UID look the same. The API's count of
// versions does not show: every status that the node writes raises it.
func (p Pod) same(b Pod) bool {
	return (p.Pod == b.Pod || equality.Semantic.DeepEqual(p.Spec, b.Spec) && equality.Semantic.DeepEqual(unversioned(p.Pod), unversioned(b.Pod))) &&
		(p.Is != nil && p.Is == b.Is || equality.Semantic.DeepEqual(p.whole().Status, b.whole().Status))
}

func unversioned(p *v1.Pod) metav1.ObjectMeta {
	m := p.ObjectMeta
	m.ResourceVersion, m.ManagedFields = "", nil
	return m
}
