package kubelet

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A critical pod gets the place of one that matters less, and not before that is
// gone.
func TestPreemption(t *testing.T) { // SP-32
	onCrew(t, func(_ context.Context, c *crew) {
		var preempted []string
		c.preempted = func(p *v1.Pod) { preempted = append(preempted, p.Name) }
		c.set(func() { c.offer.Allocatable = twoCPUs() })
		small, big := with(assigned("small", "1"), 80, "500m"), with(assigned("big", "2"), 81, "1500m")
		c.want(small, big)
		c.expectRunning("big", "small")

		critical, late := with(static("critical", "3"), 82, "1"), with(assigned("late", "4"), 83, "1")
		c.want(small, big, late, critical)
		c.expectRejected("late", "late: OutOfcpu")
		if want := c.wants[pod.KeyOf(big)]; want.Stop == nil || want.Stop.Reason != preemptReason || want.Stop.Disruption == "" {
			t.Errorf("the victim is to end by %+v", want.Stop)
		}
		if !slices.Equal(preempted, []string{"big"}) {
			t.Errorf("preempted %v", preempted)
		}
		c.expectRunning("small")
		c.set(func() { c.over["2"] = true })
		synctest.Wait()
		c.expectRunning("critical", "small")
		if len(preempted) != 1 {
			t.Errorf("preempted %v", preempted)
		}
	})
}

// What ends anyway is waited for, and nobody else has to go.
func TestPreemptionWaits(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		c.preempted = func(p *v1.Pod) { t.Errorf("%s is preempted", p.Name) }
		c.set(func() { c.offer.Allocatable = twoCPUs() })
		a, b := with(assigned("a", "1"), 80, "1"), with(assigned("b", "2"), 81, "1")
		c.want(a, b)
		c.expectRunning("a", "b")
		critical := with(static("critical", "3"), 82, "1")
		c.want(a, deletedIn(b, 0), critical)
		c.expectRejected("")
		c.set(func() { c.over["2"] = true })
		c.expectRunning("a", "critical")
	})
}
