package kubelet

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/cpus"
	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/status"
)

// withReservedCPUs returns a configuration in which as much CPU is reserved as the
// CPUs are that reservedSystemCPUs names, whatever else it says.
func withReservedCPUs(c *kubeletv1beta1.KubeletConfiguration) *kubeletv1beta1.KubeletConfiguration {
	named, err := cpuset.Parse(c.ReservedSystemCPUs)
	if err != nil || named.IsEmpty() { // it was validated
		return c
	}
	c = c.DeepCopy()
	delete(c.KubeReserved, string(v1.ResourceCPU))
	if c.SystemReserved == nil {
		c.SystemReserved = map[string]string{}
	}
	c.SystemReserved[string(v1.ResourceCPU)] = strconv.Itoa(named.Size())
	return c
}

// newCPUs adds who gives containers CPUs for themselves, where that is configured.
func (k *kubelet) newCPUs() error {
	c := k.o.Config
	if c.CPUManagerPolicy != cpus.Static {
		return nil
	}
	policy, err := cpus.ParsePolicy(c.CPUManagerPolicyOptions, c.FeatureGates)
	if err != nil {
		return fmt.Errorf("CPU manager: %w", err)
	}
	reserve := quantities(c.SystemReserved)[v1.ResourceCPU]
	reserve.Add(quantities(c.KubeReserved)[v1.ResourceCPU])
	named, _ := cpuset.Parse(c.ReservedSystemCPUs) // it was validated
	k.places.sharing = make(chan struct{}, 1)
	k.places.cpus, err = cpus.New(cpus.Options{
		Dir: k.o.RootDir, Machine: k.places.machine, Policy: policy, Reserved: named, Reserve: reserve,
		Guaranteed: func(p *v1.Pod) bool { return status.QOSClass(p) == v1.PodQOSGuaranteed },
		Changed:    k.places.shareOthers, Aligned: k.metrics.places.ofCPUs(), Log: k.o.Logger,
	})
	if err != nil {
		return fmt.Errorf("CPU manager: %w", err)
	}
	k.facts.CPUs = k.places.cpus.Of
	k.places.owners = append(k.places.owners, k.places.cpus)
	return nil
}

// checkCPUs returns an error where no CPUs are given to containers, but were, and where
// CPUs are reserved that are not there.
func (k *kubelet) checkCPUs() error {
	c := k.o.Config
	if c.CPUManagerPolicy == cpus.Static {
		return nil // who gives CPUs looks for itself
	}
	if err := cpus.CheckUnused(k.o.RootDir, cmp.Or(c.CPUManagerPolicy, "none")); err != nil {
		return err
	}
	named, _ := cpuset.Parse(c.ReservedSystemCPUs) // it was validated
	if named.IsEmpty() {
		return nil
	}
	m, err := numa.Discover(os.DirFS("/sys"))
	if err != nil {
		return fmt.Errorf("look at CPUs: %w", err)
	}
	return cpus.CheckReserved(named, m)
}

// shareOthers has all containers moved to the CPUs that are shared now. It does not
// block.
func (p *places) shareOthers() {
	select {
	case p.sharing <- struct{}{}:
	default: // it will be done
	}
}

// pinContainers keeps containers on their CPUs until ctx ends: whenever others are
// shared, and now and then, since some may have been about to start.
func (k *kubelet) pinContainers(ctx context.Context) {
	if k.places == nil || k.places.cpus == nil {
		return
	}
	tick := time.NewTicker(k.o.Config.CPUManagerReconcilePeriod.Duration)
	defer tick.Stop()
	pinned := map[string]string{}
	for {
		now, err := k.runtime.Pin(ctx, k.places.cpus.Of, pinned)
		if err != nil && ctx.Err() == nil {
			k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "keep containers on their CPUs", slog.Any("err", err))
		}
		pinned = now
		select {
		case <-tick.C:
		case <-k.places.sharing:
		case <-ctx.Done():
			return
		}
	}
}

// hasOwnCPUs reports whether a container of a pod has CPUs for itself: then nothing is
// gained by limiting how long it runs on them.
func (k *kubelet) hasOwnCPUs(p *v1.Pod) bool {
	return k.places != nil && k.places.cpus != nil && k.places.cpus.HasAny(p.UID)
}
