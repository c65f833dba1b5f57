package csi

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"boot.internal/kubelet/plugin"
)

const driverName = "csi.example.com"

// A world is Drivers with an API and one driver.
type world struct {
	*testing.T
	*Drivers
	api    *fake.Clientset
	driver *fakeDriver

	mu     sync.Mutex
	node   *v1.Node
	inUse  []v1.UniqueVolumeName
	events []string
}

// newWorld makes a world whose driver is registered.
func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{T: t, node: &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "node-uid"}}}
	w.api = fake.NewClientset(append(objects, w.node.DeepCopy())...)
	w.driver = newFakeDriver(t)
	w.Drivers = w.start(t.TempDir())
	return w
}

// start returns Drivers on a directory, with the driver registered.
func (w *world) start(dir string) *Drivers {
	w.Helper()
	d := New(Options{
		RootDir: dir, Node: "n1", Client: func() kubernetes.Interface { return w.api },
		NodeObject: func() *v1.Node { w.mu.Lock(); defer w.mu.Unlock(); return w.node },
		InUse:      func(all []v1.UniqueVolumeName) { w.mu.Lock(); defer w.mu.Unlock(); w.inUse = all },
		Arrived:    func() {},
		Event: func(_ *v1.Pod, _, reason, message string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, reason+": "+message)
		},
		Log: slog.New(slog.NewTextHandler(w.Output(), nil)),
	})
	if err := d.Register(w.Context(), w.plugin()); err != nil {
		w.Fatal(err)
	}
	return d
}

func (w *world) plugin() plugin.Plugin {
	return plugin.Plugin{Type: plugin.CSI, Name: driverName, Endpoint: w.driver.socket, Versions: []string{"0.3.0", "1.2.0"}}
}

// using returns what the node was last said to use.
func (w *world) using() []v1.UniqueVolumeName {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inUse
}

// setNode changes the Node as the API has it.
func (w *world) setNode(change func(*v1.Node)) {
	w.mu.Lock()
	n := w.node.DeepCopy()
	change(n)
	w.node = n
	w.mu.Unlock()
	w.NodeChanged()
}

// wantCalls checks what the driver was asked for since the last time.
func (w *world) wantCalls(want ...string) {
	w.Helper()
	if got := w.driver.take(); !slices.Equal(got, want) {
		w.Errorf("driver was called\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// A fakeDriver notes its calls and makes directories instead of mounts.
type fakeDriver struct {
	csi.UnimplementedNodeServer
	socket string
	can    []csi.NodeServiceCapability_RPC_Type

	mu      sync.Mutex
	calls   []string
	stage   *csi.NodeStageVolumeRequest   // the last
	publish *csi.NodePublishVolumeRequest // the last
	expand  *csi.NodeExpandVolumeRequest  // the last
	fail    map[string]error              // by method
	limit   int64                         // volumes
}

func newFakeDriver(t *testing.T) *fakeDriver {
	t.Helper()
	dir, err := os.MkdirTemp("", "csi") //nolint:usetesting // it is too long: paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &fakeDriver{
		socket: filepath.Join(dir, "sock"), fail: map[string]error{}, limit: 5,
		can: []csi.NodeServiceCapability_RPC_Type{csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME},
	}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	csi.RegisterNodeServer(s, d)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return d
}

// take returns the calls since the last time.
func (d *fakeDriver) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.calls
	d.calls = nil
	return calls
}

func (d *fakeDriver) failing(method string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail[method] = err
}

// takes has the driver take that many volumes.
func (d *fakeDriver) takes(volumes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = volumes
}

func (d *fakeDriver) called(method, handle string) error {
	d.calls = append(d.calls, method+" "+handle)
	return d.fail[method]
}

func (d *fakeDriver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &csi.NodeGetInfoResponse{
		NodeId: "id-1", MaxVolumesPerNode: d.limit,
		AccessibleTopology: &csi.Topology{Segments: map[string]string{"example.com/zone": "a"}},
	}, nil
}

func (d *fakeDriver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, can := range d.can {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: can}},
		})
	}
	return resp, nil
}

func (d *fakeDriver) NodeStageVolume(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stage = r
	return &csi.NodeStageVolumeResponse{}, d.called("stage", r.VolumeId)
}

func (d *fakeDriver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.publish = r
	if err := d.called("publish", r.VolumeId); err != nil {
		return nil, err
	}
	if r.VolumeCapability.GetBlock() != nil {
		return &csi.NodePublishVolumeResponse{}, os.WriteFile(r.TargetPath, nil, 0o600)
	}
	return &csi.NodePublishVolumeResponse{}, os.MkdirAll(r.TargetPath, 0o750)
}

func (d *fakeDriver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &csi.NodeUnpublishVolumeResponse{}, d.called("unpublish", r.VolumeId)
}

func (d *fakeDriver) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &csi.NodeUnstageVolumeResponse{}, d.called("unstage", r.VolumeId)
}

func (d *fakeDriver) NodeExpandVolume(_ context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expand = r
	return &csi.NodeExpandVolumeResponse{CapacityBytes: r.CapacityRange.RequiredBytes}, d.called("expand", r.VolumeId)
}

func (d *fakeDriver) NodeGetVolumeStats(context.Context, *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: 100, Used: 30, Available: 70}}}, nil
}

// newPod returns a pod of a UID.
func newPod(uid string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pod-" + uid, UID: types.UID(uid)},
		Spec:       v1.PodSpec{ServiceAccountName: "sa"},
	}
}

// newPV returns a volume of the driver.
func newPV(handle string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + handle},
		Spec: v1.PersistentVolumeSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, MountOptions: []string{"noatime"},
			Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("2Gi")},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: driverName, VolumeHandle: handle, FSType: "ext4", VolumeAttributes: map[string]string{"a": "b"},
			}},
		},
	}
}

// newDriver returns the object of the driver, which attaches nothing.
func newDriver(change ...func(*storagev1.CSIDriverSpec)) *storagev1.CSIDriver {
	d := &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: driverName},
		Spec: storagev1.CSIDriverSpec{
			AttachRequired: new(false), FSGroupPolicy: new(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy),
			VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent},
		},
	}
	for _, f := range change {
		f(&d.Spec)
	}
	return d
}

// tree lists what is below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all = append(all, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all)
}
