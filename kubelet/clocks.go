package kubelet

import (
	"time"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// leaseFor returns how long a lease of the node is good for.
func leaseFor(c *kubeletv1beta1.KubeletConfiguration) time.Duration {
	return time.Duration(c.NodeLeaseDurationSeconds) * time.Second
}

// cpuPeriod returns the period of CPU limits; 0 means that they are not
// enforced.
func cpuPeriod(c *kubeletv1beta1.KubeletConfiguration) time.Duration {
	if c.CPUCFSQuota != nil && !*c.CPUCFSQuota {
		return 0
	}
	if c.CPUCFSQuotaPeriod != nil {
		return c.CPUCFSQuotaPeriod.Duration
	}
	return 100 * time.Millisecond
}
