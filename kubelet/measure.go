package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/server"
	"boot.internal/kubelet/stats"
)

// newMeter makes what measures the node, once there are control groups to read.
func (k *kubelet) newMeter() {
	capacity, _, err := k.node.Resources()
	if err != nil {
		k.o.Logger.Warn("look at the machine", slog.Any("err", err))
	}
	k.meter.Store(stats.New(stats.Options{
		Node: k.o.Node, Runtime: k.conn.Runtime, Images: k.conn.Images,
		Groups: k.cgroups, Root: k.cgroups.RootGroup(), AllPods: k.cgroups.AllPods(),
		Memory: capacity.Memory().Value(), HugePages: hugePagesOf(capacity), Started: bootTime(), RootDir: k.o.RootDir, PodLogsDir: k.o.PodLogsDir,
		Endpoint: k.o.Config.ContainerRuntimeEndpoint, Pods: k.desired, Volumes: k.measurable, Log: k.o.Logger,
	}))
}

// hugePagesOf returns how many bytes are set aside for huge pages.
func hugePagesOf(capacity v1.ResourceList) (bytes int64) {
	for name, q := range capacity {
		if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
			bytes += q.Value()
		}
	}
	return bytes
}

// withMeter adds to the options of the server what is measured.
func (k *kubelet) withMeter(o server.Options) server.Options {
	gather := func(all ...prometheus.Collector) prometheus.Gatherer {
		r := prometheus.NewRegistry()
		r.MustRegister(all...)
		return r
	}
	o.Containers = gather(stats.Containers(k.measured))
	o.Resource = gather(stats.Resource(k.measured))
	o.Probes = gather(k.prober.Collectors()...)
	o.Stats, o.Runtime = meter{k}, inside{k}
	o.CheckpointDir, o.SystemLogs = filepath.Join(k.o.RootDir, "checkpoints"), "/var/log"
	return o
}

// A meter is what measures, once there is one.
type meter struct{ k *kubelet }

// Summary measures everything.
func (m meter) Summary(ctx context.Context) (*statsapi.Summary, error) {
	s, err := m.k.measured()
	if err != nil {
		return nil, err
	}
	return s.Summary(ctx)
}

// CPUAndMemory measures these two.
func (m meter) CPUAndMemory(ctx context.Context) (*statsapi.Summary, error) {
	s, err := m.k.measured()
	if err != nil {
		return nil, err
	}
	return s.CPUAndMemory(ctx)
}

// Inside is the container runtime for those who look into containers.
type inside struct{ k *kubelet }

// Running lists what the runtime runs.
func (i inside) Running(ctx context.Context) ([]v1.Pod, error) {
	m, err := i.k.measured()
	if err != nil {
		return nil, err
	}
	return m.Running(ctx)
}

// Exec runs a command in a container.
func (i inside) Exec(ctx context.Context, id string, command []string, timeout time.Duration) (out []byte, code int, err error) {
	return i.k.runtime.Exec(ctx, id, command, timeout)
}

// Checkpoint writes the state of a container to a file.
func (i inside) Checkpoint(ctx context.Context, id, file string, timeout time.Duration) error {
	_, err := i.k.conn.Runtime.CheckpointContainer(ctx, &cri.CheckpointContainerRequest{
		ContainerId: id, Location: file, Timeout: int64(timeout.Seconds()),
	})
	return err
}

var errNoMeter = errors.New("container engine does not answer yet")

// measured returns what measures the node.
func (k *kubelet) measured() (*stats.Meter, error) {
	if m := k.meter.Load(); m != nil {
		return m, nil
	}
	return nil, errNoMeter
}

// bootTime returns since when the machine is up.
func bootTime() time.Time {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return time.Time{} // never happens
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second).Truncate(time.Second)
}

// measurable returns the volumes of a pod that are on the node, whoever made
// them, as they lie below the pod's directory.
func (k *kubelet) measurable(p *v1.Pod) []stats.Volume {
	byName := map[string]*v1.Volume{}
	for i := range p.Spec.Volumes {
		byName[p.Spec.Volumes[i].Name] = &p.Spec.Volumes[i]
	}
	var all []stats.Volume
	dir := filepath.Join(k.podsDir(), string(p.UID), "volumes")
	plugins, _ := os.ReadDir(dir) // a pod without volumes has none
	for _, plugin := range plugins {
		if !strings.HasPrefix(plugin.Name(), "kubernetes.io~") || plugin.Name() == "kubernetes.io~csi" {
			continue
		}
		names, _ := os.ReadDir(filepath.Join(dir, plugin.Name())) // gone meanwhile
		for _, n := range names {
			if v := byName[n.Name()]; v != nil && n.IsDir() {
				all = append(all, volumeAt(filepath.Join(dir, plugin.Name(), n.Name()), v))
			}
		}
	}
	return append(all, k.lasting(p)...)
}

// volumeAt returns how to measure a volume. What is in memory has a size of its
// own; upstream counts the same sources as local.
func volumeAt(path string, v *v1.Volume) stats.Volume {
	out := stats.Volume{Name: v.Name, Path: path}
	if e := v.EmptyDir; e != nil {
		out.Whole = e.Medium != v1.StorageMediumDefault
		out.Local = e.Medium == v1.StorageMediumDefault
	}
	out.Local = out.Local || v.ConfigMap != nil
	return out
}
