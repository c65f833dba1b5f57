package config

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/cpus"
	"boot.internal/kubelet/numa"
)

// kubeletCPUs checks which CPUs are kept from pods, and which pods get CPUs for
// themselves.
func (v *validator) kubeletCPUs(k *kubeletv1beta1.KubeletConfiguration) {
	v.oneOf(kindKubelet, "cpuManagerPolicy", k.CPUManagerPolicy, "", "none", cpus.Static)
	v.check(k.CPUManagerReconcilePeriod.Duration >= 0, kindKubelet, "cpuManagerReconcilePeriod", "must not be negative")
	named, err := cpuset.Parse(k.ReservedSystemCPUs)
	v.check(err == nil, kindKubelet, "reservedSystemCPUs", fmt.Sprintf("%q is not a list of CPUs", k.ReservedSystemCPUs), `write it as "0-1,8"`)
	v.check(k.ReservedSystemCPUs == "" || k.SystemReservedCgroup == "" && k.KubeReservedCgroup == "", kindKubelet, "reservedSystemCPUs",
		"can't be used with systemReservedCgroup or kubeReservedCgroup")
	if k.CPUManagerPolicy != cpus.Static {
		v.check(len(k.CPUManagerPolicyOptions) == 0, kindKubelet, "cpuManagerPolicyOptions", "are those of the policy static")
		return
	}
	v.check(err != nil || !named.IsEmpty() || reservesCPU(k), kindKubelet, "cpuManagerPolicy",
		"the static policy requires systemReserved.cpu + kubeReserved.cpu to be greater than zero", "or name CPUs in reservedSystemCPUs")
	policy, err := cpus.ParsePolicy(k.CPUManagerPolicyOptions, k.FeatureGates)
	if err != nil {
		v.add(kindKubelet, "cpuManagerPolicyOptions", err.Error(), "")
	}
	v.check(!policy.BySocket || k.TopologyManagerPolicy != string(numa.SingleNode), kindKubelet, "cpuManagerPolicyOptions",
		"align-by-socket excludes the topologyManagerPolicy "+string(numa.SingleNode))
}

// reservesCPU reports whether CPU is kept for others than pods.
func reservesCPU(k *kubeletv1beta1.KubeletConfiguration) bool {
	for _, amounts := range []map[string]string{k.SystemReserved, k.KubeReserved} {
		if q, err := resource.ParseQuantity(amounts[string(corev1.ResourceCPU)]); err == nil && q.Sign() > 0 {
			return true
		}
	}
	return false
}
