package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

// TestResize follows a pod that is given more and then less (KEP-1287).
func TestResize(t *testing.T) {
	c := onHost(t)
	small, big := newPod("g", v1.PodQOSGuaranteed, "500m", "50Mi"), newPod("g", v1.PodQOSGuaranteed, "1", "100Mi")
	mixed := newPod("g", v1.PodQOSGuaranteed, "1", "50Mi")
	parent, err := c.Create(small)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		do   func(*v1.Pod) error
		to   *v1.Pod
		want *v1.Pod
	}{
		{"there is room for what grows", c.Raise, big, big},
		{"nothing shrinks before its containers", c.Raise, small, big},
		{"it shrinks after them", c.Update, small, small},
		{"it grows at once if it is asked to", c.Update, big, big},
		{"each limit counts for itself", c.Raise, mixed, big},
		{"each limit counts for itself afterwards", c.Update, mixed, mixed},
		{"as many times as one likes", c.Update, mixed, mixed},
		{"a start finds it as it should be", func(p *v1.Pod) error { _, err := c.Create(p); return err }, small, small},
	} {
		if err := step.do(step.to); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		want, got := c.read(t, parent, c.limitsOf(step.want, c.QOS(step.want)))
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if err := c.Update(newPod("nobody", v1.PodQOSGuaranteed, "1", "100Mi")); err != nil {
		t.Errorf("a pod without a group: %v", err)
	}
}

func TestAbove(t *testing.T) {
	for _, tc := range []struct {
		value, now string
		want       bool
	}{
		{"2", "1", true},
		{"1", "2", false},
		{"1", "1", false},
		{"5", "-1", false},
		{"5", "max", false},
		{"20000 100000", "10000 100000", true},
		{"10000 100000", "max 100000", false},
	} {
		if got := above(tc.value, tc.now); got != tc.want {
			t.Errorf("%s above %s: %v", tc.value, tc.now, got)
		}
	}
}
