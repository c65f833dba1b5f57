package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// Starting takes turns, but waits for nobody who hangs.
func TestTurns(t *testing.T) {
	for _, c := range []struct {
		name string
		slow int // sandboxes that take so long
		each time.Duration
		took []time.Duration // the last of 20, in order
	}{
		{"eight at a time", 20, time.Second, []time.Duration{1 * time.Second, 2 * time.Second, 3 * time.Second}},
		{"eight that hang", 8, time.Minute, []time.Duration{10 * time.Second, time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, w := newFake(t)
				f.Delay("RunPodSandbox", c.slow, c.each)
				begin := time.Now()
				at := make(chan time.Duration, 20)
				for i := range cap(at) {
					p := onePod()
					p.Name = fmt.Sprint("web-", i)
					p.UID = types.UID(p.Name)
					go func() {
						if err := w.Runtime.Do(t.Context(), p, pod.CreateSandbox{}); err != nil {
							t.Error(err)
						}
						at <- time.Since(begin)
					}()
				}
				seen := map[time.Duration]int{}
				for range cap(at) {
					seen[<-at]++
				}
				for _, want := range c.took {
					if seen[want] == 0 {
						t.Errorf("nothing done after %s: %v", want, seen)
					}
				}
				if len(seen) != len(c.took) || seen[c.took[0]] > max(8, 20-c.slow) {
					t.Errorf("done %v, want only at %v", seen, c.took)
				}
			})
		})
	}
}

// A pod that has begun is ended before others begin, and who waits for a quiet
// moment is told of it.
func TestTurnsOfContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, w := newFake(t)
		w.Runtime.Quiet(t.Context()) // nobody waits
		first := onePod()
		if err := w.Runtime.Do(t.Context(), first, pod.CreateSandbox{}); err != nil {
			t.Fatal(err)
		}
		have, err := w.Runtime.Observe(t.Context(), pod.KeyOf(first))
		if err != nil {
			t.Fatal(err)
		}
		f.Delay("RunPodSandbox", 24, time.Second)
		begin := time.Now()
		for i := range 24 {
			p := onePod()
			p.Name = fmt.Sprint("web-", i)
			p.UID = types.UID(p.Name)
			go func() {
				if err := w.Runtime.Do(t.Context(), p, pod.CreateSandbox{}); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		quiet := make(chan time.Duration, 1)
		go func() {
			w.Runtime.Quiet(t.Context())
			quiet <- time.Since(begin)
		}()
		name := first.Spec.Containers[0].Name
		start := pod.StartContainer{Name: name, Sandbox: have.Sandboxes[0]}
		if err := w.Runtime.Do(t.Context(), first, start); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took >= 3*time.Second {
			t.Errorf("a container waited %s, until all sandboxes were there", took)
		}
		if took := <-quiet; took != 3*time.Second {
			t.Errorf("quiet after %s, want it when the last eight have started", took)
		}
		time.Sleep(10 * time.Second)
		w.Runtime.Quiet(t.Context())
	})
}
