package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxSize is what a volume can have at most: more than any node has of disk.
const maxSize = 1 << 40

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	can := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT, csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME, csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if d.o.attach {
		can = append(can, csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME)
	}
	if d.o.modify {
		can = append(can, csi.ControllerServiceCapability_RPC_MODIFY_VOLUME)
	}
	resp := &csi.ControllerGetCapabilitiesResponse{}
	for _, c := range can {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: c}},
		})
	}
	return resp, nil
}

func (d *driver) CreateVolume(_ context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mayModify(r.MutableParameters); err != nil {
		return nil, err
	}
	v := &volume{
		id: newID(), name: r.Name, size: r.GetCapacityRange().GetRequiredBytes(),
		block: slices.ContainsFunc(r.VolumeCapabilities, hasBlocks), source: r.VolumeContentSource, params: r.Parameters,
	}
	if v.size > maxSize {
		return nil, status.Errorf(codes.OutOfRange, "no volume has %d bytes", v.size)
	}
	if have := d.named(r.Name); have != nil {
		if have.size != v.size {
			return nil, status.Errorf(codes.AlreadyExists, "volume %s has %d bytes", r.Name, have.size)
		}
		return d.created(have), nil
	}
	source, err := d.contents(v)
	if err != nil {
		return nil, err
	}
	if err := d.add(v, source); err != nil {
		return nil, err
	}
	return d.created(v), nil
}

func hasBlocks(c *csi.VolumeCapability) bool { return c.GetBlock() != nil }

func (d *driver) named(name string) *volume {
	for _, v := range d.volumes {
		if v.name == name {
			return v
		}
	}
	return nil
}

func (d *driver) created(v *volume) *csi.CreateVolumeResponse {
	resp := &csi.Volume{VolumeId: v.id, CapacityBytes: v.size, VolumeContext: v.params, ContentSource: v.source}
	if t := d.topology(); t != nil {
		resp.AccessibleTopology = []*csi.Topology{t}
	}
	return &csi.CreateVolumeResponse{Volume: resp}
}

// contents returns the path of what a new volume is to hold.
func (d *driver) contents(v *volume) (string, error) {
	var size int64
	var block bool
	var id string
	switch {
	case v.source.GetSnapshot() != nil:
		id = v.source.GetSnapshot().SnapshotId
		s, ok := d.snapshots[id]
		if !ok {
			return "", status.Errorf(codes.NotFound, "no snapshot %s", id)
		}
		size, block = s.size, s.block
	case v.source.GetVolume() != nil:
		id = v.source.GetVolume().VolumeId
		from, err := d.volume(id)
		if err != nil {
			return "", err
		}
		if err := from.flush(); err != nil {
			return "", internal(err)
		}
		size, block = from.size, from.block
	default:
		return "", nil
	}
	if size > v.size || block != v.block {
		return "", status.Errorf(codes.InvalidArgument, "%s has %d bytes, of blocks: %t", id, size, block)
	}
	return d.path(id), nil
}

func (d *driver) DeleteVolume(_ context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.volumes[r.VolumeId]
	if !ok {
		return &csi.DeleteVolumeResponse{}, nil
	}
	if d.o.lifecycle && (v.attached || v.staged != "" || len(v.published) > 0) {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is in use", v.id)
	}
	return &csi.DeleteVolumeResponse{}, internal(d.remove(v))
}

func (d *driver) ControllerPublishVolume(_ context.Context, r *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if r.NodeId != d.o.node {
		return nil, status.Errorf(codes.NotFound, "no node %s", r.NodeId)
	}
	if !v.attached && d.o.attachLimit > 0 && d.attached() >= d.o.attachLimit {
		return nil, status.Error(codes.ResourceExhausted, "the node has all volumes it can have")
	}
	v.attached = true
	return &csi.ControllerPublishVolumeResponse{}, nil
}

func (d *driver) attached() (n int64) {
	for _, v := range d.volumes {
		if v.attached {
			n++
		}
	}
	return n
}

func (d *driver) ControllerUnpublishVolume(_ context.Context, r *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.volumes[r.VolumeId]
	if ok && d.o.lifecycle && (v.staged != "" || len(v.published) > 0) {
		return nil, status.Errorf(codes.Internal, "volume %s is in use", v.id)
	}
	if ok {
		v.attached = false
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

func (d *driver) ValidateVolumeCapabilities(_ context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeContext: r.VolumeContext, VolumeCapabilities: r.VolumeCapabilities, Parameters: r.Parameters},
	}, nil
}

func (d *driver) ControllerExpandVolume(_ context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.volume(r.VolumeId)
	if err != nil {
		return nil, err
	}
	if size := r.CapacityRange.GetRequiredBytes(); size > v.size {
		if size > maxSize {
			return nil, status.Errorf(codes.OutOfRange, "no volume has %d bytes", size)
		}
		if v.block {
			if err := os.Truncate(d.path(v.id), size); err != nil {
				return nil, internal(err)
			}
			if err := v.resized(); err != nil {
				return nil, internal(err)
			}
		}
		v.size = size
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.size, NodeExpansionRequired: d.o.nodeExpand}, nil
}

func (d *driver) ControllerModifyVolume(_ context.Context, r *csi.ControllerModifyVolumeRequest) (*csi.ControllerModifyVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.volume(r.VolumeId); err != nil {
		return nil, err
	}
	if err := d.mayModify(r.MutableParameters); err != nil {
		return nil, err
	}
	return &csi.ControllerModifyVolumeResponse{}, nil
}

// mayModify refuses parameters that a volume cannot have.
func (d *driver) mayModify(params map[string]string) error {
	for name := range params {
		if !slices.Contains(strings.Split(d.o.mutable, ","), name) {
			return status.Errorf(codes.InvalidArgument, "parameter %s cannot be set", name)
		}
	}
	return nil
}

// internal is an error as a caller is told of it.
func internal(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codes.Internal, err.Error())
}
