package kubelet

import (
	"testing"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// A look is taken for what it may find, and for nothing that the last one has seen.
func TestNews(t *testing.T) {
	key := pod.Key{Namespace: "default", Name: "p"}
	var l looks
	l.saw(key, pod.Observed{
		Sandboxes: []pod.Sandbox{{ID: "up", Ready: true}, {ID: "down"}},
		Containers: []pod.Container{
			{ID: "made", State: pod.Created}, {ID: "runs", State: pod.Running}, {ID: "ended", State: pod.Exited}, {ID: "lost", State: pod.Unknown},
		},
	})
	for _, c := range []struct {
		id    string
		state pod.State
		want  bool
	}{
		{"up", pod.Created, false},
		{"up", pod.Running, false},
		{"up", pod.Exited, true},
		{"down", pod.Running, false},
		{"down", pod.Exited, false},
		{"down", "", true},
		{"made", pod.Running, true},
		{"runs", pod.Running, false},
		{"runs", pod.Exited, true},
		{"runs", pod.Unknown, true}, // an event of a kind that is not known
		{"ended", pod.Running, false},
		{"ended", pod.Exited, false},
		{"ended", "", true},
		{"lost", pod.Running, true},
		{"lost", pod.Exited, true},
		{"another", pod.Created, false},
		{"another", pod.Running, true},
		{"another", pod.Exited, true},
		{"another", "", false},
		{"", "", true}, // something was missed
	} {
		if got := l.news(runtime.News{Key: key, ID: c.id, State: c.state}); got != c.want {
			t.Errorf("%q is %q: news %v, want %v", c.id, c.state, got, c.want)
		}
	}
	l.saw(key, pod.Observed{})
	if len(l.seen) > 0 {
		t.Errorf("kept of what is gone: %v", l.seen)
	}
	if !l.news(runtime.News{Key: key, ID: "runs", State: ""}) {
		t.Error("of a pod that nobody has seen yet nothing is known")
	}
}

// What a list shows is held against what the worker saw, not against the list
// before: an event that is lost is made up for however the two fall together.
func TestListDiffers(t *testing.T) {
	key, gone := pod.Key{Namespace: "default", Name: "p"}, pod.Key{Namespace: "default", Name: "gone"}
	var l looks
	have := pod.Observed{Sandboxes: []pod.Sandbox{{ID: "s", Ready: true}}, Containers: []pod.Container{{ID: "c", State: pod.Running}}}
	if !l.differ(key, have.States()) {
		t.Error("seen before anybody looked")
	}
	l.saw(key, have)
	if l.differ(key, have.States()) {
		t.Error("the same differs")
	}
	for what, states := range map[string]map[string]pod.State{
		"a container ended":  {"s": pod.Running, "c": pod.Exited},
		"a container is new": {"s": pod.Running, "c": pod.Running, "d": pod.Created},
		"a container went":   {"s": pod.Running},
		"all is gone":        {},
	} {
		if !l.differ(key, states) {
			t.Errorf("%s: not told", what)
		}
	}
	l.saw(gone, have)
	if got := l.missing(map[pod.Key]runtime.Summary{key: {}}); len(got) != 1 || got[0] != gone {
		t.Errorf("missing: %v", got)
	}
}
