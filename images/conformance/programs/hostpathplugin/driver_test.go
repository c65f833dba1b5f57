package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func newDriver(t *testing.T, o options) *driver {
	t.Helper()
	o.dir = t.TempDir()
	return &driver{o: o, volumes: map[string]*volume{}, snapshots: map[string]*snapshot{}}
}

func create(t *testing.T, d *driver, name string, from *csi.VolumeContentSource) string {
	t.Helper()
	resp, err := d.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: name, VolumeContentSource: from})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Volume.VolumeId
}

// What is in a volume is in its snapshots, in what is made of these and in its
// clones.
func TestContents(t *testing.T) {
	d := newDriver(t, options{})
	id := create(t, d, "a", nil)
	if again := create(t, d, "a", nil); again != id {
		t.Errorf("volumes %s and %s have one name", id, again)
	}
	if err := os.WriteFile(filepath.Join(d.path(id), "data"), []byte("data"), 0o640); err != nil {
		t.Fatal(err)
	}
	s, err := d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: id})
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]*csi.VolumeContentSource{
		"restored": {Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.Snapshot.SnapshotId}}},
		"clone":    {Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: id}}},
	} {
		path := filepath.Join(d.path(create(t, d, name, from)), "data")
		if text, err := os.ReadFile(path); err != nil || string(text) != "data" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// What is out of order is refused.
func TestLifecycle(t *testing.T) {
	d := newDriver(t, options{lifecycle: true, attach: true, node: "n", attachLimit: 1})
	id, other := create(t, d, "a", nil), create(t, d, "b", nil)
	mount := &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{}}
	attach := func(id string) error {
		_, err := d.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: "n"})
		return err
	}
	stage := func() error {
		_, err := d.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: "/s"})
		return err
	}
	remove := func() error {
		_, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
		want codes.Code
	}{
		{"stage before attach", stage, codes.Internal},
		{"attach", func() error { return attach(id) }, codes.OK},
		{"attach one too many", func() error { return attach(other) }, codes.ResourceExhausted},
		{"publish before stage", func() error {
			_, err := d.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{VolumeId: id, TargetPath: "/t", VolumeCapability: mount})
			return err
		}, codes.FailedPrecondition},
		{"stage", stage, codes.OK},
		{"delete", remove, codes.FailedPrecondition},
	} {
		if got := status.Code(step.do()); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}

// A connection of the tests that is gone by the time it is needed is passed over.
func TestForward(t *testing.T) {
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(to net.Listener) net.Conn {
		t.Helper()
		conn, err := net.Dial(to.Addr().Network(), to.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	_ = dial(tests).Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- forward(ctx, socket, tests.(*net.TCPListener)) }()
	far, near := dial(tests), dial(socket)
	if _, err := far.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(near, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = far.Close()
	if _, err := near.Read(got); err == nil {
		t.Error("the other side did not end")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
