package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ephemeralKey is what the kubelet says of a volume that ends with its pod.
const ephemeralKey = "csi.storage.k8s.io/ephemeral"

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId: d.o.node, MaxVolumesPerNode: cmp.Or(d.o.attachLimit, d.o.maxVolumes), AccessibleTopology: d.topology(),
	}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	can := []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if d.o.nodeExpand {
		can = append(can, csi.NodeServiceCapability_RPC_EXPAND_VOLUME)
	}
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, c := range can {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: c}},
		})
	}
	return resp, nil
}

func (d *driver) NodeStageVolume(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if d.o.attach && !v.attached {
		return nil, status.Errorf(codes.Internal, "volume %s is not attached", v.id)
	}
	if v.staged != "" && v.staged != r.StagingTargetPath && d.o.lifecycle {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is at %s", v.id, v.staged)
	}
	v.staged = r.StagingTargetPath
	return &csi.NodeStageVolumeResponse{}, nil
}

func (d *driver) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if len(v.published) > 0 && d.o.lifecycle {
		return nil, status.Errorf(codes.Internal, "volume %s is published", v.id)
	}
	v.staged = ""
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (d *driver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.toPublish(r)
	if err != nil {
		return nil, err
	}
	if v.published[r.TargetPath] {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := d.publish(v, r); err != nil {
		return nil, internal(errors.Join(err, v.releaseUnused()))
	}
	v.published[r.TargetPath] = true
	return &csi.NodePublishVolumeResponse{}, nil
}

// toPublish returns the volume, and makes it if it ends with its pod.
func (d *driver) toPublish(r *csi.NodePublishVolumeRequest) (*volume, error) {
	if v, ok := d.volumes[r.VolumeId]; !ok && r.VolumeContext[ephemeralKey] == "true" {
		v = &volume{id: r.VolumeId, name: r.VolumeId, ephemeral: true}
		return v, d.add(v, "")
	}
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if v.block != hasBlocks(r.VolumeCapability) {
		return nil, status.Errorf(codes.InvalidArgument, "volume %s has blocks: %t", v.id, v.block)
	}
	if d.o.lifecycle && !v.ephemeral && v.staged == "" {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is not staged", v.id)
	}
	single := r.VolumeCapability.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	if single && len(v.published) > 0 && !v.published[r.TargetPath] {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s has its one writer", v.id)
	}
	return v, nil
}

// publish mounts the volume.
func (d *driver) publish(v *volume, r *csi.NodePublishVolumeRequest) error {
	from := d.path(v.id)
	if v.block {
		device, err := v.attachLoop(from)
		if err != nil {
			return err
		}
		from = device
		if err := os.WriteFile(r.TargetPath, nil, 0o600); err != nil {
			return err
		}
	} else if err := os.Mkdir(r.TargetPath, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Mount(from, r.TargetPath, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	flags := bindFlags(r.Readonly, r.VolumeCapability.GetMount().GetMountFlags())
	if flags == 0 || v.block {
		return nil
	}
	return unix.Mount("", r.TargetPath, "", unix.MS_REMOUNT|unix.MS_BIND|flags, "")
}

// bindFlags are the options that one mount of a directory can have for itself.
func bindFlags(readOnly bool, options []string) (flags uintptr) {
	if readOnly || slices.Contains(options, "ro") {
		flags |= unix.MS_RDONLY
	}
	if slices.Contains(options, "noexec") {
		flags |= unix.MS_NOEXEC
	}
	return flags
}

func (d *driver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if !v.published[r.TargetPath] {
		return &csi.NodeUnpublishVolumeResponse{}, nil
	}
	err = unix.Unmount(r.TargetPath, unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return nil, internal(err)
	}
	if err := os.RemoveAll(r.TargetPath); err != nil {
		return nil, internal(err)
	}
	delete(v.published, r.TargetPath)
	if v.ephemeral {
		return &csi.NodeUnpublishVolumeResponse{}, internal(d.remove(v))
	}
	return &csi.NodeUnpublishVolumeResponse{}, internal(v.releaseUnused())
}

func (d *driver) NodeExpandVolume(_ context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: max(v.size, r.CapacityRange.GetRequiredBytes())}, nil
}

func (d *driver) NodeGetVolumeStats(_ context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	resp := &csi.NodeGetVolumeStatsResponse{}
	if v.block {
		resp.Usage = []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: v.size}}
		return resp, nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.VolumePath, &st); err != nil {
		return nil, status.Errorf(codes.NotFound, "look at %s: %v", r.VolumePath, err)
	}
	bytes := func(blocks uint64) int64 { return int64(blocks) * st.Bsize }
	resp.Usage = []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: bytes(st.Blocks), Available: bytes(st.Bavail), Used: bytes(st.Blocks - st.Bfree)},
		{Unit: csi.VolumeUsage_INODES, Total: int64(st.Files), Available: int64(st.Ffree), Used: int64(st.Files - st.Ffree)},
	}
	return resp, nil
}
