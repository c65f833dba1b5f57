package stats

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/pod"
)

// logsRecent is for how long what logs take is not added up again.
const logsRecent = 10 * time.Second

// A Volume is a volume of a pod that can be measured.
type Volume struct {
	Name  string // in the pod
	Path  string // where it is on the node
	Claim string // the claim it is of, if any
	// Whole says that the volume has a file system of its own, which is asked.
	// Otherwise its files are added up.
	Whole bool
	// Local says that it takes from the ephemeral storage of the node.
	Local bool
	// Ask asks whoever made the volume, instead of all this; may be nil.
	Ask func(ctx context.Context) (*statsapi.FsStats, error)
}

// Places are the file systems that a pod takes from.
type places struct {
	root, layers *statsapi.FsStats
	written      map[string]filled // to layers, by container
}

// layers asks the runtime what containers have written to their layers.
func (m *Meter) layers(ctx context.Context) (map[string]filled, error) {
	all, err := m.o.Runtime.ListContainerStats(ctx, &cri.ListContainerStatsRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask container runtime for layers: %w", err)
	}
	out := map[string]filled{}
	for _, s := range all.Stats {
		if l := s.GetWritableLayer(); l != nil {
			out[s.GetAttributes().GetId()] = filled{time.Unix(0, l.Timestamp), l.GetUsedBytes().GetValue(), l.GetInodesUsed().GetValue()}
		}
	}
	return out, nil
}

// fill adds to a pod all that is not CPU or memory. p is nil for a pod that is
// not desired any more.
func (m *Meter) fill(ctx context.Context, out *statsapi.PodStats, s podSample, p *v1.Pod, on places) {
	total := filled{at: time.Now()}
	for i, c := range s.containers {
		if layer, ok := on.written[c.id]; ok {
			total = total.plus(layer)
			out.Containers[i].Rootfs = layer.on(on.layers)
		}
		logs, err := m.held(filepath.Join(m.logDir(s.key, s.uid), c.name), logsRecent)
		if err == nil {
			total = total.plus(logs)
			out.Containers[i].Logs = logs.on(on.root)
		} // a container that logs nowhere takes no space
	}
	var local filled
	out.VolumeStats, local = m.volumes(ctx, p)
	total = total.plus(local)
	if st, err := os.Stat(filepath.Join(m.o.RootDir, "pods", string(s.uid), "etc-hosts")); err == nil {
		total = total.plus(filled{bytes: uint64(st.Size()), inodes: 1}) //nolint:gosec // never negative
	}
	out.EphemeralStorage = total.on(on.root)
	processes := m.o.Groups.Processes(s.group)
	out.ProcessStats = &statsapi.ProcessStats{ProcessCount: new(uint64(len(processes)))}
	if p == nil || !pod.IsHostNetwork(p) {
		out.Network = m.podNetwork(s)
	}
}

// podNetwork returns the network of a pod as its sandbox sees it.
func (m *Meter) podNetwork(s podSample) *statsapi.NetworkStats {
	for _, c := range append([]containerSample{s.sandbox}, s.containers...) {
		if c.group == "" {
			continue
		}
		for _, pid := range m.o.Groups.Processes(c.group) {
			if n := networkOf(filepath.Join("/proc", strconv.Itoa(pid), "net/dev"), time.Now()); n != nil {
				return n
			}
		}
	}
	return nil
}

// logDir is where the logs of a pod are.
func (m *Meter) logDir(key pod.Key, uid types.UID) string {
	return filepath.Join(m.o.PodLogsDir, key.Namespace+"_"+key.Name+"_"+string(uid))
}

// volumes measures the volumes of a pod, and adds up those that are local.
func (m *Meter) volumes(ctx context.Context, p *v1.Pod) (all []statsapi.VolumeStats, local filled) {
	if p == nil {
		return nil, filled{}
	}
	for _, v := range m.o.Volumes(p) {
		s, err := m.volume(ctx, v)
		if err != nil {
			m.o.Log.LogAttrs(ctx, slog.LevelDebug, "measure a volume",
				slog.String("pod", pod.KeyOf(p).String()), slog.String("volume", v.Name), slog.Any("err", err))
			continue
		}
		out := statsapi.VolumeStats{Name: v.Name, FsStats: *s}
		if v.Claim != "" {
			out.PVCRef = &statsapi.PVCReference{Name: v.Claim, Namespace: p.Namespace}
		}
		all = append(all, out)
		if v.Local && s.UsedBytes != nil && s.InodesUsed != nil {
			local = local.plus(filled{bytes: *s.UsedBytes, inodes: *s.InodesUsed})
		}
	}
	return all, local
}

func (m *Meter) volume(ctx context.Context, v Volume) (*statsapi.FsStats, error) {
	if v.Ask != nil {
		return m.asked.ask(ctx, v)
	}
	whole, err := statfs(v.Path)
	if err != nil || v.Whole {
		return whole, err
	}
	part, err := m.held(v.Path, recent)
	if err != nil {
		return nil, err
	}
	s := part.on(whole)
	s.Time = metav1.NewTime(part.at)
	return s, nil
}
