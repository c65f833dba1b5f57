package kubelet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"boot.internal/backoff"
)

// Snapshots are those of etcd's data that the loop of a control plane takes by
// itself.
type Snapshots interface {
	// Here says whether this node has an etcd whose data there is to save.
	Here() bool
	// Last returns when the newest was taken that is still there; zero if none is.
	Last() (time.Time, error)
	// Take takes one, and removes those that are too many once it is safe. Size is
	// in bytes. The error may be that of the removal alone: then path is set.
	Take(ctx context.Context) (path string, size int64, err error)
}

const (
	// firstSnapshotAfter is how long a loop waits that finds no snapshot: the
	// cluster may just be made.
	firstSnapshotAfter = 10 * time.Minute
	// snapshotTimeout bounds one snapshot.
	snapshotTimeout = 10 * time.Minute
	// Bounds of the pause after one that failed.
	firstSnapshotRetry = time.Minute
	lastSnapshotRetry  = 30 * time.Minute
)

// snapshotMetrics tell of the snapshots of this node.
type snapshotMetrics struct {
	last, size prometheus.Gauge
	failures   prometheus.Counter
}

func newSnapshotMetrics() snapshotMetrics {
	return snapshotMetrics{
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "boot_etcd_snapshot_last_timestamp_seconds", Help: "When the last snapshot of etcd was taken by schedule; 0 if none was.",
		}),
		size: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "boot_etcd_snapshot_size_bytes", Help: "Size of the last snapshot of etcd that this loop took.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "boot_etcd_snapshot_failures_total", Help: "Snapshots of etcd that could not be taken.",
		}),
	}
}

func (m snapshotMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.last, m.size, m.failures}
}

// takeSnapshots takes one whenever it is time, until ctx ends. When the last one
// was taken, the disk knows: restarting the loop neither takes nor skips one.
func (k *kubelet) takeSnapshots(ctx context.Context) {
	every := k.o.SnapshotEvery
	if k.o.Snapshots == nil || every <= 0 {
		return
	}
	begun, failed := time.Now(), 0
	for {
		pause := k.untilSnapshot(ctx, begun, failed)
		if !backoff.Sleep(ctx, pause) {
			return
		}
		switch {
		case !k.o.Snapshots.Here():
			begun, failed = time.Now(), 0
		case k.takeSnapshot(ctx):
			failed = 0
		default:
			failed++
		}
	}
}

// untilSnapshot is how long it is until the next attempt, given when the loop
// began and how many attempts in a row have failed.
func (k *kubelet) untilSnapshot(ctx context.Context, begun time.Time, failed int) time.Duration {
	every := k.o.SnapshotEvery
	if failed > 0 {
		return min(firstSnapshotRetry<<min(failed-1, 10), lastSnapshotRetry, every)
	}
	last, err := k.o.Snapshots.Last()
	if err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "look for snapshots of etcd", slog.Any("err", err))
	}
	if last.IsZero() {
		return time.Until(begun.Add(min(firstSnapshotAfter, every)))
	}
	k.metrics.snapshots.last.Set(float64(last.Unix()))
	// A clock that was put back must not keep the next one away.
	return min(time.Until(last.Add(every)), every)
}

// takeSnapshot takes one and tells of it.
func (k *kubelet) takeSnapshot(ctx context.Context) (ok bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, snapshotTimeout, fmt.Errorf("gave up after %s", snapshotTimeout))
	defer cancel()
	path, size, err := k.o.Snapshots.Take(ctx)
	if path != "" {
		k.metrics.snapshots.last.SetToCurrentTime()
		k.metrics.snapshots.size.Set(float64(size))
		k.events.ofNode(v1.EventTypeNormal, "EtcdSnapshotTaken", fmt.Sprintf("Saved a snapshot of etcd, %d bytes, to %s", size, path))
	}
	if err != nil {
		k.metrics.snapshots.failures.Inc()
		k.events.ofNode(v1.EventTypeWarning, "EtcdSnapshotFailed", fmt.Sprintf("Saving a snapshot of etcd: %v", err))
	}
	return err == nil
}
