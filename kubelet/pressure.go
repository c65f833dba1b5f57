package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/evict"
	"boot.internal/kubelet/pod"
)

// evictionOf returns what the configuration says of eviction.
func evictionOf(c *kubeletv1beta1.KubeletConfiguration) evict.Config {
	return evict.Config{
		Hard: c.EvictionHard, Merge: ptr.Deref(c.MergeDefaultEvictionSettings, false),
		Soft: c.EvictionSoft, SoftGrace: c.EvictionSoftGracePeriod, MinReclaim: c.EvictionMinimumReclaim,
		Allocatable: slices.Contains(c.EnforceNodeAllocatable, "pods"),
	}
}

// newPressure makes what keeps the node alive when pods use too much of it. It
// is poked from the start, and watches once the engine answers.
func (k *kubelet) newPressure(ctx context.Context) error {
	c := k.o.Config
	thresholds, err := evict.Parse(evictionOf(c))
	if err != nil {
		return err
	}
	k.pressure = evict.New(evict.Options{
		Thresholds: thresholds, Transition: c.EvictionPressureTransitionPeriod.Duration,
		MaxGrace: int64(c.EvictionMaxPodGracePeriod), NoLimits: !ptr.Deref(c.LocalStorageCapacityIsolation, true),
		Host: k.pressureHost, Pods: k.evictable, Usage: k.usageOfPods, Free: k.free,
		Evict: func(e evict.Eviction) { k.evict(ctx, e) }, Gone: func(p *v1.Pod) bool { return k.hasStopped(p) },
		Conditions: k.setPressure,
		Starved: func(what v1.ResourceName) {
			k.events.ofNode(v1.EventTypeWarning, "EvictionThresholdMet", "Attempting to reclaim "+string(what))
		},
		Log: k.o.Logger,
	})
	return nil
}

// pressureHost says where to look for what is left.
func (k *kubelet) pressureHost(ctx context.Context) evict.Host {
	h := evict.Host{Node: k.o.RootDir}
	h.Memory, h.PodMemory = k.cgroups.Memory()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	info, err := k.conn.Images.ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
	if err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "ask where images are", slog.Any("err", err))
		return h
	}
	h.Images, h.Containers = mountpoint(info.ImageFilesystems), mountpoint(info.ContainerFilesystems)
	return h
}

func mountpoint(all []*cri.FilesystemUsage) string {
	if len(all) == 0 {
		return ""
	}
	return all[0].GetFsId().GetMountpoint()
}

// setPressure tells the API of pressure, and holds back pods while there is any.
func (k *kubelet) setPressure(conditions []v1.NodeConditionType) {
	k.o.Logger.Info("pressure on the node changed", slog.Any("conditions", conditions))
	k.node.SetPressure(conditions)
	k.offer(func(n *admit.Node) { n.Pressure = conditions })
}

// evictable returns the pods that run and may be evicted.
func (k *kubelet) evictable() []*v1.Pod {
	return k.active(func(p *v1.Pod) bool { return !admit.IsCritical(p) && !k.evicted[p.UID] })
}

// active returns the pods of which something runs or will, and that match.
func (k *kubelet) active(match func(*v1.Pod) bool) []*v1.Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []*v1.Pod
	for _, p := range k.now {
		if !slices.Contains(k.rejected, p) && !k.over[p.UID] && !hasEnded(p) && match(p) {
			all = append(all, p)
		}
	}
	return all
}

// hasStopped reports whether nothing of a pod runs any more.
func (k *kubelet) hasStopped(p *v1.Pod) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := func(o *v1.Pod) bool { return o.UID == p.UID }
	return k.over[p.UID] || !slices.ContainsFunc(k.now, known) && !slices.ContainsFunc(k.going, known)
}

// evict ends a pod for what it, or the node, has too little of.
func (k *kubelet) evict(ctx context.Context, e evict.Eviction) {
	k.mu.Lock()
	k.evicted[e.Pod.UID] = true
	k.mu.Unlock()
	k.metrics.evictions.WithLabelValues(e.Cause).Inc()
	k.events.ofPodWith(e.Pod, e.Annotations, v1.EventTypeWarning, evict.Reason, e.Message)
	s := pod.Stop{Grace: time.Duration(e.Grace) * time.Second, Reason: evict.Reason, Message: e.Message, Fails: true}
	if e.Disrupted {
		s.Disruption = e.Message
	}
	k.stop(ctx, e.Pod.UID, s)
}

// free frees what nobody needs.
func (k *kubelet) free(ctx context.Context, s evict.Step) error {
	if s == evict.UnusedImages {
		return k.collector.FreeAll(ctx)
	}
	return k.freeContainers(ctx)
}

// freeContainers removes the dead containers of pods that have ended for good: of
// others the plan keeps no more than what is asked for.
func (k *kubelet) freeContainers(ctx context.Context) error {
	var failed []error
	for _, p := range k.desired() {
		if !hasEnded(p) || pod.IsStatic(p) {
			continue
		}
		have, err := k.runtime.Observe(ctx, pod.KeyOf(p))
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for _, c := range have.Containers {
			if c.PodUID == p.UID && c.State == pod.Exited {
				failed = append(failed, k.runtime.Do(ctx, p, pod.RemoveContainer{Name: c.Name, ID: c.ID}))
			}
		}
	}
	return errors.Join(failed...)
}

// usageOfPods measures pods for an eviction: files only where that is about disk.
func (k *kubelet) usageOfPods(ctx context.Context, disk bool) (evict.Usages, error) {
	m, err := k.measured()
	if err != nil {
		return nil, err
	}
	look := m.CPUAndMemory
	if disk {
		look = m.Summary
	}
	sum, err := look(ctx)
	if err != nil {
		return nil, err
	}
	all := evict.Usages{}
	for i := range sum.Pods {
		all[types.UID(sum.Pods[i].PodRef.UID)] = usageOf(&sum.Pods[i])
	}
	return all, nil
}

// usageOf reads the figures of a pod that matter to evictions.
func usageOf(p *statsapi.PodStats) evict.Usage {
	u := evict.Usage{
		Memory: workingSet(p.Memory), Containers: map[string]evict.ContainerUsage{}, Volumes: map[string]evict.Disk{},
		Storage: diskOf(p.EphemeralStorage).Bytes,
	}
	if p.ProcessStats != nil {
		u.Processes = int64(ptr.Deref(p.ProcessStats.ProcessCount, 0))
	}
	for _, c := range p.Containers {
		u.Containers[c.Name] = evict.ContainerUsage{Memory: workingSet(c.Memory), Layer: diskOf(c.Rootfs), Logs: diskOf(c.Logs)}
	}
	for i := range p.VolumeStats {
		u.Volumes[p.VolumeStats[i].Name] = diskOf(&p.VolumeStats[i].FsStats)
	}
	return u
}

func workingSet(m *statsapi.MemoryStats) int64 {
	if m == nil {
		return 0
	}
	return int64(ptr.Deref(m.WorkingSetBytes, 0))
}

func diskOf(f *statsapi.FsStats) evict.Disk {
	if f == nil {
		return evict.Disk{}
	}
	return evict.Disk{Bytes: int64(ptr.Deref(f.UsedBytes, 0)), Inodes: int64(ptr.Deref(f.InodesUsed, 0))}
}

// forgetEvicted drops a pod that is gone.
func (k *kubelet) forgetEvicted(uid types.UID) {
	k.mu.Lock()
	delete(k.evicted, uid)
	k.mu.Unlock()
	k.podEnded()
}
