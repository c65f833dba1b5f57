package kubelet

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// Claims collects how full the volumes of claims are, when somebody asks.
type claims struct{ k *kubelet }

//nolint:gochecknoglobals // descriptions are constant
var (
	claimLabels   = []string{"namespace", "persistentvolumeclaim"}
	descCapacity  = prometheus.NewDesc("kubelet_volume_stats_capacity_bytes", "Capacity in bytes of the volume", claimLabels, nil)
	descAvailable = prometheus.NewDesc("kubelet_volume_stats_available_bytes", "Number of available bytes in the volume", claimLabels, nil)
	descUsed      = prometheus.NewDesc("kubelet_volume_stats_used_bytes", "Number of used bytes in the volume", claimLabels, nil)
	descInodes    = prometheus.NewDesc("kubelet_volume_stats_inodes", "Maximum number of inodes in the volume", claimLabels, nil)
	descFree      = prometheus.NewDesc("kubelet_volume_stats_inodes_free", "Number of free inodes in the volume", claimLabels, nil)
	descInUse     = prometheus.NewDesc("kubelet_volume_stats_inodes_used", "Number of used inodes in the volume", claimLabels, nil)
)

// Describe names the metrics.
func (claims) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descCapacity, descAvailable, descUsed, descInodes, descFree, descInUse} {
		to <- d
	}
}

// Collect measures. A claim that several pods share is told of once.
func (c claims) Collect(to chan<- prometheus.Metric) {
	m, err := c.k.measured()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), censusWithin)
	defer cancel()
	told := map[string]bool{}
	for _, p := range c.k.desired() {
		for _, v := range m.Claims(ctx, p) {
			if name := p.Namespace + "/" + v.PVCRef.Name; !told[name] {
				told[name] = true
				for d, n := range map[*prometheus.Desc]*uint64{
					descCapacity: v.CapacityBytes, descAvailable: v.AvailableBytes, descUsed: v.UsedBytes,
					descInodes: v.Inodes, descFree: v.InodesFree, descInUse: v.InodesUsed,
				} {
					if n != nil {
						to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(*n), p.Namespace, v.PVCRef.Name)
					}
				}
			}
		}
	}
}
