package kubelet

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/device"
	"boot.internal/kubelet/mirror"
	"boot.internal/kubelet/podsapi"
	"boot.internal/kubelet/runtime/fake"
)

// newMeasured returns a kubelet that has all that is measured.
func newMeasured(t *testing.T) *kubelet {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	return &kubelet{
		o: Options{Config: &kubeletv1beta1.KubeletConfiguration{}}, metrics: newMetrics(), podsAPI: podsapi.New(nil), claims: noClaims(t),
		devices: device.New(device.Options{Dir: t.TempDir(), Changed: func() {}, Log: log}),
		mirrors: mirror.New(mirror.Options{Node: "n1", Log: log}),
	}
}

// gathered returns the values of the metrics with a name, by their labels.
func gathered(t *testing.T, k *kubelet, name string) map[string]float64 {
	t.Helper()
	families, err := k.metrics.registry(k).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels strings.Builder
			for _, l := range m.GetLabel() {
				labels.WriteString(l.GetName() + "=" + l.GetValue() + " ")
			}
			got[labels.String()] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
}

func TestMetrics(t *testing.T) { // SP-60
	k := newMeasured(t)
	k.now = []*v1.Pod{static("a", "1"), static("b", "2")}
	k.going = []*v1.Pod{static("c", "3")}
	for name, want := range map[string]map[string]float64{
		"kubelet_desired_pods": {"static= ": 0, "static=true ": 2},
		"kubelet_active_pods":  {"static= ": 0, "static=true ": 2},
		"kubelet_mirror_pods":  {"": 0},
		"kubelet_working_pods": {
			"config=desired lifecycle=sync static= ": 0, "config=desired lifecycle=sync static=true ": 2,
			"config=orphan lifecycle=terminating static= ": 0, "config=orphan lifecycle=terminating static=true ": 1,
		},
	} {
		if diff := cmp.Diff(want, gathered(t, k, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRestartsAreCounted(t *testing.T) { // SP-60
	k := newMeasured(t)
	onCrew(t, func(_ context.Context, c *crew) {
		c.restarted = k.metrics.podRestarted
		c.cri.Script("a", fake.Program{StopTakes: time.Second})
		p := static("a", "1")
		p.Spec.TerminationGracePeriodSeconds = new(int64(30))
		c.want(p)
		c.want()
		c.want(p)
		c.want(static("a", "2")) // another pod is no restart
		time.Sleep(time.Second)
		synctest.Wait()
	})
	if diff := cmp.Diff(map[string]float64{"static=true ": 1}, gathered(t, k, "kubelet_restarted_pods_total")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStartIsMeasuredOnce(t *testing.T) {
	k := newMeasured(t)
	seen := metav1.NewTime(time.Unix(100, 0))
	waiting := v1.PodStatus{StartTime: &seen, ContainerStatuses: []v1.ContainerStatus{{}}}
	running := *waiting.DeepCopy()
	running.ContainerStatuses[0].State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(102, 0))}
	again := *running.DeepCopy()
	again.ContainerStatuses[0].RestartCount = 1
	k.metrics.said(waiting, waiting)
	k.metrics.said(waiting, running)
	k.metrics.said(running, running)
	k.metrics.said(waiting, again)
	if got := gathered(t, k, "kubelet_pod_start_total_duration_seconds")[""]; got != 1 {
		t.Errorf("%v starts measured, want 1", got)
	}
}
