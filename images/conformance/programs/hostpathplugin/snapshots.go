package main

import (
	"context"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (d *driver) CreateSnapshot(_ context.Context, r *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.snapshots {
		if s.name != r.Name {
			continue
		}
		if s.volume != r.SourceVolumeId {
			return nil, status.Errorf(codes.AlreadyExists, "snapshot %s is of volume %s", r.Name, s.volume)
		}
		return &csi.CreateSnapshotResponse{Snapshot: s.told()}, nil
	}
	v, err := d.volume(r.SourceVolumeId)
	if err != nil {
		return nil, err
	}
	if err := v.flush(); err != nil {
		return nil, internal(err)
	}
	s := &snapshot{id: newID(), name: r.Name, volume: v.id, size: v.size, block: v.block, taken: time.Now()}
	if err := copyData(d.path(v.id), d.path(s.id)); err != nil {
		_ = os.RemoveAll(d.path(s.id))
		return nil, err
	}
	d.snapshots[s.id] = s
	return &csi.CreateSnapshotResponse{Snapshot: s.told()}, nil
}

func (s *snapshot) told() *csi.Snapshot {
	return &csi.Snapshot{SnapshotId: s.id, SourceVolumeId: s.volume, SizeBytes: s.size, CreationTime: timestamppb.New(s.taken), ReadyToUse: true}
}

func (d *driver) DeleteSnapshot(_ context.Context, r *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.snapshots[r.SnapshotId]
	if !ok {
		return &csi.DeleteSnapshotResponse{}, nil
	}
	if err := os.RemoveAll(d.path(s.id)); err != nil {
		return nil, internal(err)
	}
	delete(d.snapshots, s.id)
	return &csi.DeleteSnapshotResponse{}, nil
}

// ListSnapshots tells of all that are asked for at once, of which there are few.
func (d *driver) ListSnapshots(_ context.Context, r *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	resp := &csi.ListSnapshotsResponse{}
	for _, s := range d.snapshots {
		if (r.SnapshotId == "" || r.SnapshotId == s.id) && (r.SourceVolumeId == "" || r.SourceVolumeId == s.volume) {
			resp.Entries = append(resp.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: s.told()})
		}
	}
	return resp, nil
}
