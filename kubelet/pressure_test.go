package kubelet

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/evict"
	"boot.internal/kubelet/pod"
)

func TestUsageOf(t *testing.T) {
	fs := func(bytes, inodes uint64) *statsapi.FsStats {
		return &statsapi.FsStats{UsedBytes: &bytes, InodesUsed: &inodes}
	}
	got := usageOf(&statsapi.PodStats{
		Memory: &statsapi.MemoryStats{WorkingSetBytes: new(uint64(7))}, ProcessStats: &statsapi.ProcessStats{ProcessCount: new(uint64(3))},
		Containers: []statsapi.ContainerStats{
			{Name: "a", Memory: &statsapi.MemoryStats{WorkingSetBytes: new(uint64(5))}, Rootfs: fs(10, 1), Logs: fs(20, 2)},
			{Name: "b"},
		},
		VolumeStats:      []statsapi.VolumeStats{{Name: "v", FsStats: *fs(30, 3)}},
		EphemeralStorage: fs(60, 6),
	})
	want := evict.Usage{
		Memory: 7, Processes: 3, Storage: 60, Volumes: map[string]evict.Disk{"v": {Bytes: 30, Inodes: 3}},
		Containers: map[string]evict.ContainerUsage{
			"a": {Memory: 5, Layer: evict.Disk{Bytes: 10, Inodes: 1}, Logs: evict.Disk{Bytes: 20, Inodes: 2}}, "b": {},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := usageOf(&statsapi.PodStats{}); got.Memory != 0 || got.Processes != 0 || got.Storage != 0 {
		t.Errorf("of nothing %+v", got)
	}
}

func TestWhoMayBeEvicted(t *testing.T) {
	k := telling(t)
	k.evicted = map[types.UID]bool{"going": true}
	k.over["over"] = true
	named := func(name string) *v1.Pod {
		p := &v1.Pod{}
		p.Name, p.UID = name, types.UID(name)
		return p
	}
	static, critical, ended, rejected := named("static"), named("critical"), named("ended"), named("rejected")
	static.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile}
	critical.Spec.Priority = new(int32(2_000_000_000))
	ended.Status.Phase = v1.PodFailed
	k.rejected = []*v1.Pod{rejected}
	k.now = []*v1.Pod{static, critical, ended, rejected, named("over"), named("going"), named("yes")}
	var got []string
	for _, p := range k.evictable() {
		got = append(got, p.Name)
	}
	if strings.Join(got, " ") != "yes" {
		t.Errorf("%v", got)
	}
	if !k.hasStopped(named("over")) || !k.hasStopped(named("gone")) || k.hasStopped(named("yes")) {
		t.Error("who has stopped is not known")
	}
	if k.hasEndedForAll(named("over")) || !k.hasEndedForAll(named("gone")) {
		t.Error("who has ended as the API knows is not known")
	}
}

func TestShutdownIsRemembered(t *testing.T) {
	path := t.TempDir() + "/state"
	r := &shutdownRecord{path: path, metrics: newShutdownMetrics()}
	if err := r.load(); err != nil {
		t.Errorf("nothing to remember: %v", err)
	}
	began := time.Unix(1e9, 0)
	if err := r.note(began, began.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	later := newShutdownMetrics()
	if err := (&shutdownRecord{path: path, metrics: later}).load(); err != nil {
		t.Fatal(err)
	}
	for gauge, want := range map[prometheus.Gauge]float64{later.start: 1e9, later.end: 1e9 + 60} {
		var m dto.Metric
		if err := gauge.Write(&m); err != nil || m.Gauge.GetValue() != want {
			t.Errorf("%v, %v, want %v", m.Gauge.GetValue(), err, want)
		}
	}
}
