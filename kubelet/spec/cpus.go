package spec

import (
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// unlimited is the quota of who may run all the time.
const unlimited = -1

// pin has a container run on its CPUs. One that has them for itself may run all the
// time: a quota would hold it up, and others would gain nothing.
func (n Node) pin(p *v1.Pod, container string, out *cri.LinuxContainerResources) {
	if n.CPUs == nil {
		return
	}
	cpus, alone := n.CPUs(p.UID, container)
	out.CpusetCpus = cpus
	if alone && n.CPUPeriod > 0 {
		out.CpuQuota = unlimited
	}
}

// free lifts the quota of a pod that has a container with CPUs for itself.
func (n Node) free(p *v1.Pod, out *cri.LinuxContainerResources) {
	if n.CPUs == nil || n.CPUPeriod == 0 {
		return
	}
	for _, d := range pod.Containers(p) {
		if _, alone := n.CPUs(p.UID, d.Name); alone {
			out.CpuQuota = unlimited
		}
	}
}
