package kubelet

import "github.com/prometheus/client_golang/prometheus"

// keptMetrics tell how much memory the kernel keeps for pods (KEP-2570).
type keptMetrics struct{ guaranteed, burstable prometheus.Gauge }

func newKeptMetrics() keptMetrics {
	return keptMetrics{
		guaranteed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kubelet_memory_qos_node_memory_min_bytes", Help: "Memory of guaranteed pods that the kernel never takes away.",
		}),
		burstable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kubelet_memory_qos_node_memory_low_bytes", Help: "Memory of burstable pods that the kernel takes away last.",
		}),
	}
}

func (m keptMetrics) set(guaranteed, burstable int64) {
	m.guaranteed.Set(float64(guaranteed))
	m.burstable.Set(float64(burstable))
}
