package main

import (
	"testing"

	"boot.internal/kubelet/pod"
)

// A pod that comes back under its UID goes on counting: what is told says from where.
func TestComponentsThatCameBack(t *testing.T) {
	key := pod.Key{Namespace: "kube-system", Name: "etcd-node1"}
	got := components{node: "Node1"}.latest(key, pod.Observed{Containers: []pod.Container{ // newest first
		{Name: "etcd", PodUID: "now", Attempt: 5, State: pod.Running},
		{Name: "etcd", PodUID: "now", Attempt: 4, State: pod.Exited},
		{Name: "other", PodUID: "now", Attempt: 1, State: pod.Running},
		{Name: "etcd", PodUID: "then", Attempt: 2, State: pod.Exited},
	}})
	if len(got) != 2 || got[0].Pod != "etcd" || got[0].Restarts != 5 || got[0].Before != 4 || got[1].Before != 1 {
		t.Errorf("%+v", got)
	}
}
