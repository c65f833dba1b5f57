package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"boot.internal/atomicfile"
	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/shutdown"
)

// newGuard makes what ends pods in time when the machine goes down, if that is
// asked for.
func (k *kubelet) newGuard(ctx context.Context) {
	groups := shutdown.Groups(k.o.Config)
	if len(groups) == 0 {
		return
	}
	record := &shutdownRecord{path: filepath.Join(k.o.RootDir, "graceful_node_shutdown_state"), metrics: k.metrics.shutdown}
	if err := record.load(); err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "read when the machine went down last", slog.Any("err", err))
	}
	note := func(began, ended time.Time) {
		if err := record.note(began, ended); err != nil {
			k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "note when the machine goes down", slog.Any("err", err))
		}
	}
	var began time.Time
	k.guard = shutdown.New(shutdown.Options{
		Groups: groups, Connect: shutdown.Connect(dbus.ConnectSystemBus, shutdown.ConfigDir),
		Pods: func() []*v1.Pod { return k.active(func(*v1.Pod) bool { return true }) },
		Stop: func(p *v1.Pod, grace time.Duration) {
			k.stop(ctx, p.UID, pod.Stop{Grace: grace, Reason: shutdown.Reason, Message: shutdown.Message, Disruption: shutdown.Message, Fails: true})
		},
		Gone: k.hasEndedForAll, Down: k.setShuttingDown,
		Began: func(at time.Time) { began = at; note(at, time.Time{}) },
		Ended: func(at time.Time) { note(began, at) },
		Log:   k.o.Logger,
	})
}

// setShuttingDown tells the API that the machine goes down, and lets no pod start.
func (k *kubelet) setShuttingDown(down bool) {
	message := "Shutdown manager detected shutdown cancellation"
	if down {
		message = "Shutdown manager detected shutdown event"
	}
	k.events.ofNode(v1.EventTypeNormal, "Shutdown", message)
	k.node.SetShuttingDown(down)
	k.offer(func(n *admit.Node) { n.ShuttingDown = down })
}

// hasEndedForAll reports whether nothing of a pod runs any more, and the API knows:
// nobody can be told once the machine is off.
func (k *kubelet) hasEndedForAll(p *v1.Pod) bool {
	if !k.hasStopped(p) {
		return false
	}
	told := func(o *v1.Pod) bool { return o.UID != p.UID || pod.IsStatic(o) || hasEnded(o) }
	return !slices.ContainsFunc(k.desired(), func(o *v1.Pod) bool { return !told(o) })
}

// guardPods ends pods in time, where that is asked for.
func (k *kubelet) guardPods(ctx context.Context) {
	if k.guard != nil {
		k.guard.Run(ctx)
	}
}

// podEnded tells those who wait for pods to end that one may have.
func (k *kubelet) podEnded() {
	k.pressure.Poke()
	k.podKnown()
}

// podKnown tells the guard that the API may know of the end of a pod.
func (k *kubelet) podKnown() {
	if k.guard != nil {
		k.guard.Poke()
	}
}

// A shutdownRecord keeps when the machine went down, for metrics of the next run.
// The file is the kubelet's.
type shutdownRecord struct {
	path    string
	metrics shutdownMetrics
}

type shutdownTimes struct {
	StartTime time.Time `json:"startTime"`
	EndTime   time.Time `json:"endTime"`
}

// load makes metrics of what an earlier run noted.
func (r *shutdownRecord) load() error {
	data, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var times shutdownTimes
	if err == nil {
		err = json.Unmarshal(data, &times)
	}
	if err == nil {
		r.metrics.set(times)
	}
	return err
}

func (r *shutdownRecord) note(began, ended time.Time) error {
	times := shutdownTimes{began, ended}
	r.metrics.set(times)
	data, err := json.Marshal(times)
	if err != nil {
		return err
	}
	return atomicfile.Write(r.path, data, 0o600)
}

type shutdownMetrics struct{ start, end prometheus.Gauge }

func newShutdownMetrics() shutdownMetrics {
	return shutdownMetrics{
		start: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kubelet_graceful_shutdown_start_time_seconds", Help: "When pods began to end because the machine went down last, since 1970.",
		}),
		end: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kubelet_graceful_shutdown_end_time_seconds", Help: "When they had ended.",
		}),
	}
}

func (m shutdownMetrics) set(t shutdownTimes) {
	for gauge, at := range map[prometheus.Gauge]time.Time{m.start: t.StartTime, m.end: t.EndTime} {
		if at.IsZero() {
			gauge.Set(0)
			continue
		}
		gauge.Set(float64(at.UnixNano()) / float64(time.Second))
	}
}
