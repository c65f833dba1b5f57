package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
)

func TestSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var told []string
		w.k.o.Event = func(_, reason, message string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !strings.HasSuffix(message, "Node n1 status is now: "+reason) {
				t.Errorf("event %s: %s", reason, message)
			}
			told = append(told, reason)
		}
		events := func() string {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			defer func() { told = nil }()
			slices.Sort(told)
			return strings.Join(told, " ")
		}
		pressure := func(kind v1.NodeConditionType) string {
			c := condition(w.node().Status.Conditions, kind)
			return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
		w.k.SetRuntime(Runtime{})
		w.run()
		if got := events(); got != "NodeHasNoDiskPressure NodeHasSufficientMemory NodeHasSufficientPID NodeReady" {
			t.Errorf("events at the start %s", got)
		}
		w.k.SetPressure([]v1.NodeConditionType{v1.NodeMemoryPressure, v1.NodePIDPressure})
		if got := events(); got != "NodeHasInsufficientMemory NodeHasInsufficientPID" {
			t.Errorf("events of pressure %s", got)
		}
		for kind, want := range map[v1.NodeConditionType]string{
			v1.NodeMemoryPressure: "True KubeletHasInsufficientMemory: kubelet has insufficient memory available",
			v1.NodePIDPressure:    "True KubeletHasInsufficientPID: kubelet has insufficient PID available",
			v1.NodeDiskPressure:   "False KubeletHasNoDiskPressure: kubelet has no disk pressure",
		} {
			if got := pressure(kind); got != want {
				t.Errorf("%s: %s, want %s", kind, got, want)
			}
		}
		w.k.SetPressure([]v1.NodeConditionType{v1.NodeDiskPressure})
		if got := events(); got != "NodeHasDiskPressure NodeHasSufficientMemory NodeHasSufficientPID" {
			t.Errorf("events of other pressure %s", got)
		}
		if got, want := pressure(v1.NodeDiskPressure), "True KubeletHasDiskPressure: kubelet has disk pressure"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		w.k.SetShuttingDown(true)
		if got := events() + " " + w.condition(); got != "NodeNotReady False KubeletNotReady: node is shutting down" {
			t.Error(got)
		}
		w.k.SetShuttingDown(false)
		if got := events() + " " + w.condition(); got != "NodeReady True KubeletReady: kubelet is posting ready status" {
			t.Error(got)
		}
	})
}

func TestImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := old()
		before.Status.Images = []v1.ContainerImage{{Names: []string{"before"}}}
		w := newWorld(t, before)
		w.k.SetRuntime(Runtime{})
		w.run()
		if got := w.node().Status.Images; len(got) != 1 {
			t.Errorf("images of an earlier process are forgotten before others are known: %v", got)
		}
		w.k.SetImages([]v1.ContainerImage{{Names: []string{"a", "b"}, SizeBytes: 7}})
		synctest.Wait()
		if got := fmt.Sprint(w.node().Status.Images); got != "[{[a b] 7}]" {
			t.Error(got)
		}
		w.took()
		w.k.SetImages([]v1.ContainerImage{{Names: []string{"a", "b"}, SizeBytes: 7}})
		w.want("the same images are no news", "")
		w.k.SetImages([]v1.ContainerImage{})
		synctest.Wait()
		if got := w.node().Status.Images; len(got) != 0 {
			t.Errorf("images that are gone are listed: %v", got)
		}
	})
}
