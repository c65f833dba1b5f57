package config

import (
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/numa"
)

// kubeletTopology checks what pods get from CPUs and NUMA nodes of their own.
func (v *validator) kubeletTopology(k *kubeletv1beta1.KubeletConfiguration) {
	v.oneOf(kindKubelet, "topologyManagerPolicy", k.TopologyManagerPolicy, append(numa.Policies(), "")...)
	v.oneOf(kindKubelet, "topologyManagerScope", k.TopologyManagerScope, "", string(numa.PerContainer), string(numa.PerPod))
	if k.TopologyManagerPolicy == "" || k.TopologyManagerPolicy == string(numa.None) {
		return // then upstream does not look at options either
	}
	if err := new(numa.Options).Parse(k.TopologyManagerPolicyOptions); err != nil {
		v.add(kindKubelet, "topologyManagerPolicyOptions", err.Error(), "")
	}
}
