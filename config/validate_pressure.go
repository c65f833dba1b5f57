package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/evict"
	"boot.internal/kubelet/memory"
)

// kubeletPressure checks what the kubelet does when the node runs out of
// something, and before it goes down.
func (v *validator) kubeletPressure(k *kubeletv1beta1.KubeletConfiguration) {
	_, err := evict.Parse(evict.Config{
		Hard: k.EvictionHard, Soft: k.EvictionSoft, SoftGrace: k.EvictionSoftGracePeriod, MinReclaim: k.EvictionMinimumReclaim,
	})
	if wrong := (*evict.Error)(nil); errors.As(err, &wrong) {
		v.add(kindKubelet, wrong.Field, wrong.Why, wrong.Advice)
	}
	v.check(k.EvictionMaxPodGracePeriod >= 0, kindKubelet, "evictionMaxPodGracePeriod", "must not be negative")
	v.check(k.EvictionPressureTransitionPeriod.Duration >= 0, kindKubelet, "evictionPressureTransitionPeriod", "must not be negative")
	v.imageCollection(k)
	v.enforcement(k)
	v.keeping(k)
	v.shutdown(k)
}

// keeping checks how memory is kept for pods.
func (v *validator) keeping(k *kubeletv1beta1.KubeletConfiguration) {
	const gated = "needs the feature gate MemoryQoS, which is closed"
	if f := k.MemoryThrottlingFactor; f != nil {
		v.check(*f > 0 && *f <= 1, kindKubelet, "memoryThrottlingFactor", "must be more than 0 and at most 1")
		// Upstream took 0.9 for granted once, and still does not mind it.
		v.check(memory.Gated(k) || *f == 0.9, kindKubelet, "memoryThrottlingFactor", gated)
	}
	tiered := kubeletv1beta1.TieredReservationMemoryReservationPolicy
	v.oneOf(kindKubelet, "memoryReservationPolicy", string(k.MemoryReservationPolicy), "",
		string(kubeletv1beta1.NoneMemoryReservationPolicy), string(tiered))
	v.check(memory.Gated(k) || k.MemoryReservationPolicy != tiered, kindKubelet, "memoryReservationPolicy", gated)
}

func (v *validator) imageCollection(k *kubeletv1beta1.KubeletConfiguration) {
	high, low := int32(85), int32(80)
	for path, p := range map[string]struct{ from, to *int32 }{
		"imageGCHighThresholdPercent": {k.ImageGCHighThresholdPercent, &high},
		"imageGCLowThresholdPercent":  {k.ImageGCLowThresholdPercent, &low},
	} {
		if p.from != nil {
			*p.to = *p.from
		}
		v.check(*p.to >= 0 && *p.to <= 100, kindKubelet, path, "is a percentage, from 0 to 100")
	}
	v.check(low < high, kindKubelet, "imageGCLowThresholdPercent", fmt.Sprintf("%d is not below imageGCHighThresholdPercent, %d", low, high))
	youngest := k.ImageMinimumGCAge.Duration
	if youngest == 0 {
		youngest = 2 * time.Minute
	}
	oldest := k.ImageMaximumGCAge.Duration
	v.check(oldest == 0 || oldest > youngest, kindKubelet, "imageMaximumGCAge", fmt.Sprintf("must be more than imageMinimumGCAge, %s", youngest))
	v.check(k.NodeStatusMaxImages == nil || *k.NodeStatusMaxImages >= -1, kindKubelet, "nodeStatusMaxImages", "must be -1, for all, or more")
}

// enforcement checks who is held to the share of the node that it has.
func (v *validator) enforcement(k *kubeletv1beta1.KubeletConfiguration) {
	const path = "enforceNodeAllocatable"
	all := k.EnforceNodeAllocatable
	for _, e := range all {
		v.oneOf(kindKubelet, path, e, "pods", "system-reserved", "system-reserved-compressible",
			"kube-reserved", "kube-reserved-compressible", "none")
		v.check(e != "none" || len(all) == 1, kindKubelet, path, "none excludes all others")
		v.check(!strings.HasPrefix(e, "system-") || k.SystemReservedCgroup != "", kindKubelet, path, e+" needs systemReservedCgroup")
		v.check(!strings.HasPrefix(e, "kube-") || k.KubeReservedCgroup != "", kindKubelet, path, e+" needs kubeReservedCgroup")
		v.check(!slices.Contains(all, e+"-compressible"), kindKubelet, path, e+" excludes "+e+"-compressible")
	}
}

// shutdown checks how long pods have when the machine goes down.
func (v *validator) shutdown(k *kubeletv1beta1.KubeletConfiguration) {
	for path, d := range map[string]metav1.Duration{
		"shutdownGracePeriod":             k.ShutdownGracePeriod,
		"shutdownGracePeriodCriticalPods": k.ShutdownGracePeriodCriticalPods,
	} {
		v.check(d.Duration == 0 || d.Duration >= time.Second, kindKubelet, path, "must be 0 or at least 1s")
	}
	v.check(k.ShutdownGracePeriodCriticalPods.Duration <= k.ShutdownGracePeriod.Duration, kindKubelet,
		"shutdownGracePeriodCriticalPods", "must not be more than shutdownGracePeriod")
	v.check(len(k.ShutdownGracePeriodByPodPriority) == 0 || k.ShutdownGracePeriod.Duration == 0, kindKubelet,
		"shutdownGracePeriodByPodPriority", "excludes shutdownGracePeriod")
}
