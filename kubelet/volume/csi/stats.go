package csi

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/pod"
)

// Stats asks the driver how full a volume is that Publish returned, or the file
// system where the driver does not know.
func (d *Drivers) Stats(ctx context.Context, vol pod.Volume) (*statsapi.FsStats, error) {
	if vol.Path == "" {
		return nil, fmt.Errorf("block devices are not measured")
	}
	r, err := load(filepath.Dir(vol.Path))
	if err != nil {
		return nil, err
	}
	c, err := d.dial(ctx, r.DriverName)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if !c.can[csi.NodeServiceCapability_RPC_GET_VOLUME_STATS] {
		return statfs(vol.Path)
	}
	resp, err := c.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: r.VolumeHandle, VolumePath: vol.Path})
	if err != nil {
		return nil, fmt.Errorf("NodeGetVolumeStats: %w", err)
	}
	out := &statsapi.FsStats{Time: metav1.Now()}
	for _, u := range resp.Usage {
		total, used, free := uint64(max(u.Total, 0)), uint64(max(u.Used, 0)), uint64(max(u.Available, 0))
		switch u.Unit {
		case csi.VolumeUsage_BYTES:
			out.CapacityBytes, out.UsedBytes, out.AvailableBytes = &total, &used, &free
		case csi.VolumeUsage_INODES:
			out.Inodes, out.InodesUsed, out.InodesFree = &total, &used, &free
		default:
			continue // a unit of the future
		}
	}
	return out, nil
}

// statfs asks the file system.
func statfs(path string) (*statsapi.FsStats, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return nil, fmt.Errorf("measure %s: %w", path, err)
	}
	size := uint64(fs.Bsize)
	return &statsapi.FsStats{
		Time: metav1.Now(), CapacityBytes: new(fs.Blocks * size), AvailableBytes: new(fs.Bavail * size), UsedBytes: new((fs.Blocks - fs.Bfree) * size),
		Inodes: new(fs.Files), InodesFree: new(fs.Ffree), InodesUsed: new(fs.Files - fs.Ffree),
	}, nil
}
