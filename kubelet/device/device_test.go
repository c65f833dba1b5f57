package device_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"boot.internal/kubelet/device"
)

const gpu = "example.com/gpu"

// A vendor is a plugin with devices that a test says are there.
type vendor struct {
	api.UnimplementedDevicePluginServer
	server  *grpc.Server
	devices chan []*api.Device
	refuse  error // what it answers when devices are asked for
	mute    error // and when asked what there is
	broken  error // and when asked for its options

	mu      sync.Mutex
	started []string // devices of which a start was told
}

func (v *vendor) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{PreStartRequired: true, GetPreferredAllocationAvailable: true}, v.broken
}

func (v *vendor) ListAndWatch(_ *api.Empty, out grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	for v.mute == nil {
		select {
		case <-out.Context().Done():
			return nil
		case all := <-v.devices:
			if err := out.Send(&api.ListAndWatchResponse{Devices: all}); err != nil {
				return err
			}
		}
	}
	return v.mute
}

// GetPreferredAllocation likes the last devices best.
func (v *vendor) GetPreferredAllocation(_ context.Context, r *api.PreferredAllocationRequest) (*api.PreferredAllocationResponse, error) {
	q := r.ContainerRequests[0]
	ids := slices.Sorted(slices.Values(q.AvailableDeviceIDs))
	slices.Reverse(ids)
	return &api.PreferredAllocationResponse{
		ContainerResponses: []*api.ContainerPreferredAllocationResponse{{DeviceIDs: ids}},
	}, nil
}

func (v *vendor) Allocate(_ context.Context, r *api.AllocateRequest) (*api.AllocateResponse, error) {
	if v.refuse != nil {
		return nil, v.refuse
	}
	ids := strings.Join(r.ContainerRequests[0].DevicesIds, ",")
	return &api.AllocateResponse{ContainerResponses: []*api.ContainerAllocateResponse{{
		Envs:        map[string]string{"GPUS": ids, "PATH": "/gpu"},
		Mounts:      []*api.Mount{{ContainerPath: "/gpu", HostPath: "/opt/gpu", ReadOnly: true}},
		Devices:     []*api.DeviceSpec{{ContainerPath: "/dev/gpu0", HostPath: "/dev/null", Permissions: "rw"}},
		Annotations: map[string]string{"gpu": ids},
		CdiDevices:  []*api.CDIDevice{{Name: "example.com/gpu=" + ids}},
	}}}, nil
}

func (v *vendor) PreStartContainer(_ context.Context, r *api.PreStartContainerRequest) (*api.PreStartContainerResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.started = append(v.started, r.DevicesIds...)
	return &api.PreStartContainerResponse{}, nil
}

// tell says which devices there are: "a", or "!a" for one that does not work.
func (v *vendor) tell(ids ...string) {
	var all []*api.Device
	for _, id := range ids {
		d := &api.Device{ID: id, Health: api.Healthy}
		if bad, ok := strings.CutPrefix(id, "!"); ok {
			d = &api.Device{ID: bad, Health: api.Unhealthy}
		}
		all = append(all, d)
	}
	v.devices <- all
}

// A bench is a Lender that runs, and a plugin that can register with it.
type bench struct {
	*device.Lender
	t       *testing.T
	dir     string
	changed chan struct{}
	stop    func()
}

func newBench(t *testing.T, dir string) *bench {
	t.Helper()
	b := &bench{t: t, dir: dir, changed: make(chan struct{}, 100)}
	b.Lender = device.New(device.Options{
		Dir: dir, Changed: func() { b.changed <- struct{}{} }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var life sync.WaitGroup
	life.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	b.stop = func() { cancel(); life.Wait() }
	t.Cleanup(b.stop)
	return b
}

// register makes a plugin and has it register, as soon as somebody listens.
func (b *bench) register(ids ...string) *vendor {
	b.t.Helper()
	v := &vendor{}
	if err := b.introduce(v); err != nil {
		b.t.Fatal(err)
	}
	v.tell(ids...)
	b.await()
	return v
}

// introduce has a plugin register, and returns what it is told.
func (b *bench) introduce(v *vendor) error {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	conn := b.connect(ctx) // before that sockets are removed
	defer func() { _ = conn.Close() }()
	v.server, v.devices = grpc.NewServer(), make(chan []*api.Device)
	socket := filepath.Join(b.dir, "gpu.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.t.Fatal(err)
	}
	api.RegisterDevicePluginServer(v.server, v)
	go func() { _ = v.server.Serve(l) }()
	b.t.Cleanup(v.server.Stop)
	for {
		_, err := api.NewRegistrationClient(conn).Register(ctx, &api.RegisterRequest{
			Version: api.Version, Endpoint: "gpu.sock", ResourceName: gpu,
		}, grpc.WaitForReady(true))
		if status.Code(err) != codes.Unavailable { // else the connection was lost
			return err
		}
	}
}

// connect returns a connection to the registration socket once that is there.
func (b *bench) connect(ctx context.Context) *grpc.ClientConn {
	b.t.Helper()
	conn, err := grpc.NewClient("unix://"+filepath.Join(b.dir, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, MaxDelay: 10 * time.Millisecond}}))
	if err != nil {
		b.t.Fatal(err)
	}
	conn.Connect()
	for s := conn.GetState(); s != connectivity.Ready; s = conn.GetState() {
		if !conn.WaitForStateChange(ctx, s) {
			b.t.Fatalf("the registration socket is %s", s)
		}
		conn.Connect()
	}
	return conn
}

func (b *bench) await() {
	b.t.Helper()
	select {
	case <-b.changed:
	case <-time.After(time.Minute):
		b.t.Fatal("nothing changed")
	}
}

// expect compares capacity, allocatable and what may be had.
func (b *bench) expect(capacity, allocatable, offer int64) {
	b.t.Helper()
	c, a := b.Capacity()
	have, usable := c[gpu], a[gpu]
	if have.Value() != capacity || usable.Value() != allocatable || b.Offer()[gpu] != offer {
		b.t.Errorf("capacity %s, allocatable %s, offer %d; want %d, %d, %d", &have, &usable, b.Offer()[gpu], capacity, allocatable, offer)
	}
}

// asking is a pod whose containers ask for so many devices.
func asking(uid types.UID, n ...string) *v1.Pod {
	p := &v1.Pod{}
	p.UID = uid
	for i, q := range n {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "c" + string(rune('0'+i)), Resources: v1.ResourceRequirements{
			Limits: v1.ResourceList{gpu: resource.MustParse(q)},
		}})
	}
	return p
}

func (b *bench) equip(p *v1.Pod, container string) *cri.ContainerConfig {
	b.t.Helper()
	c := &cri.ContainerConfig{Envs: []*cri.KeyValue{{Key: "PATH", Value: []byte("/bin")}}}
	if err := b.Equip(b.t.Context(), p, container, c); err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) allocate(p *v1.Pod) {
	b.t.Helper()
	if err := b.Allocate(b.t.Context(), p); err != nil {
		b.t.Fatal(err)
	}
}

// refused expects that a pod gets no devices.
func (b *bench) refused(p *v1.Pod, want string) {
	b.t.Helper()
	if err := b.Allocate(b.t.Context(), p); err == nil || err.Error() != want {
		b.t.Errorf("%v, want %s", err, want)
	}
}

// env returns which devices a container has.
func env(c *cri.ContainerConfig) string {
	for _, e := range c.Envs {
		if e.Key == "GPUS" {
			return string(e.Value)
		}
	}
	return ""
}

func TestContainersGetDevices(t *testing.T) {
	b := newBench(t, t.TempDir())
	v := b.register("a", "b", "c", "!d")
	b.expect(4, 3, 3)
	p := asking("1", "2")
	b.allocate(p)
	b.allocate(p) // it has them
	c := b.equip(p, "c0")
	want := &cri.ContainerConfig{
		Envs:        []*cri.KeyValue{{Key: "PATH", Value: []byte("/bin")}, {Key: "GPUS", Value: []byte("c,b")}},
		Mounts:      []*cri.Mount{{ContainerPath: "/gpu", HostPath: "/opt/gpu", Readonly: true}},
		Devices:     []*cri.Device{{ContainerPath: "/dev/gpu0", HostPath: "/dev/null", Permissions: "rw"}},
		Annotations: map[string]string{"gpu": "c,b"},
		CDIDevices:  []*cri.CDIDevice{{Name: "example.com/gpu=c,b"}},
	}
	if c.String() != want.String() {
		t.Errorf("%s\nwant %s", c, want)
	}
	if !slices.Equal(v.started, []string{"b", "c"}) {
		t.Errorf("a start was told of %v", v.started)
	}
	if c := b.equip(p, "other"); env(c) != "" {
		t.Errorf("a container that asked for none has %s", env(c))
	}
	err := b.Allocate(t.Context(), asking("2", "2"))
	if err == nil || err.Error() != "requested number of devices unavailable for example.com/gpu. Requested: 2, Available: 1" {
		t.Error(err)
	}
	b.Forget("1")
	b.await()
	b.allocate(asking("3", "3"))
}

func TestHealth(t *testing.T) { // KEP-4680
	b := newBench(t, t.TempDir())
	v := b.register("a", "b")
	p := asking("1", "1")
	b.allocate(p)
	v.tell("a", "!b")
	b.await()
	b.expect(2, 1, 2) // what is lent is not asked for twice
	want := map[string][]v1.ResourceStatus{"c0": {{Name: gpu, Resources: []v1.ResourceHealth{{ResourceID: "b", Health: v1.ResourceHealthStatusUnhealthy}}}}}
	if diff := cmp.Diff(want, b.Health("1")); diff != "" {
		t.Error(diff)
	}
	if got := b.Health("2"); got != nil {
		t.Errorf("a pod without devices has %v", got)
	}
	v.server.Stop()
	b.await()
	b.expect(2, 0, 1)
	if err := b.Allocate(t.Context(), asking("2", "1")); err == nil || !strings.HasPrefix(err.Error(), "no healthy devices present") {
		t.Error(err)
	}
}

func TestInitContainersPassTheirsOn(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.register("a", "b", "c")
	p := asking("1", "2", "1")
	init := asking("", "2", "2").Spec.Containers
	init[0].Name, init[1].Name = "i0", "i1"
	p.Spec.InitContainers = init
	b.allocate(p)
	got := []string{env(b.equip(p, "i0")), env(b.equip(p, "i1")), env(b.equip(p, "c0")), env(b.equip(p, "c1"))}
	if want := []string{"c,b", "b,c", "b,c", "a"}; !slices.Equal(got, want) {
		t.Errorf("devices %v, want %v", got, want)
	}
}

func TestSidecarsKeepTheirs(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.register("a", "b")
	p := asking("1", "1")
	side := asking("", "1").Spec.Containers
	side[0].Name, side[0].RestartPolicy = "s", new(v1.ContainerRestartPolicyAlways)
	p.Spec.InitContainers = side
	b.allocate(p)
	if one, other := env(b.equip(p, "s")), env(b.equip(p, "c0")); one != "b" || other != "a" {
		t.Errorf("the sidecar has %s, the container %s", one, other)
	}
}

func TestPluginRefuses(t *testing.T) {
	b := newBench(t, t.TempDir())
	v := b.register("a")
	v.refuse = errors.New("not today")
	if err := b.Allocate(t.Context(), asking("1", "1")); err == nil || !strings.Contains(err.Error(), "not today") {
		t.Error(err)
	}
	b.expect(1, 1, 1)
	if b.Health("1") != nil {
		t.Error("a pod has devices that were refused")
	}
}

// After a restart containers have the devices they had, and the plugin, which
// registers again, gives them to nobody else.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir)
	b.register("a", "b")
	p := asking("1", "1")
	b.allocate(p)
	b.stop()

	b = newBench(t, dir)
	b.expect(0, 0, 1)
	if got := env(b.equip(p, "c0")); got != "b" {
		t.Errorf("it has %q", got)
	}
	b.refused(p, "no healthy devices present; cannot allocate unhealthy devices example.com/gpu")
	b.register("a", "b")
	b.expect(2, 2, 2)
	b.allocate(p)
	other := asking("2", "1")
	b.allocate(other)
	if got := env(b.equip(other, "c0")); got != "a" {
		t.Errorf("the other has %q", got)
	}
	b.Keep(map[types.UID]bool{"2": true})
	if b.Health("1") != nil || b.Health("2") == nil {
		t.Error("what is kept is not what should be")
	}
}

// Devices that a pod had before are asked for once after a restart: if it is made
// again, they have to work. Once they did, it is the pod's own affair.
func TestDevicesOfBeforeHaveToWork(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir)
	b.register("a", "b")
	p := asking("1", "1")
	b.allocate(p) // b
	b.stop()

	b = newBench(t, dir)
	v := b.register("a", "!b")
	b.refused(p, "previously allocated devices are no longer healthy; cannot allocate unhealthy devices example.com/gpu")
	v.tell("a", "b")
	b.await()
	v.tell("a", "!b")
	b.await()
	b.allocate(p)
}

// A plugin that is replaced by another leaves the devices as they are, whichever
// of the two goes.
func TestPluginIsReplaced(t *testing.T) {
	b := newBench(t, t.TempDir())
	first := b.register("a")
	if err := os.Rename(filepath.Join(b.dir, "gpu.sock"), filepath.Join(b.dir, "old.sock")); err != nil {
		t.Fatal(err)
	}
	second := b.register("a", "b")
	b.expect(2, 2, 2)
	second.server.Stop()
	b.await()
	b.expect(2, 2, 2)
	b.allocate(asking("1", "1")) // by the first
	first.server.Stop()
	b.await()
	b.expect(2, 0, 1) // what the pod has
}

func TestBadRegistration(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.register("a")
	conn := b.connect(t.Context())
	defer func() { _ = conn.Close() }()
	for _, r := range []*api.RegisterRequest{
		{Version: "v0", Endpoint: "gpu.sock", ResourceName: gpu},
		{Version: api.Version, Endpoint: "gpu.sock", ResourceName: "gpu"},
		{Version: api.Version, Endpoint: "gpu.sock", ResourceName: "node.kubernetes.io/gpu"},
		{Version: api.Version, Endpoint: "none.sock", ResourceName: "example.com/none"},
	} {
		if _, err := api.NewRegistrationClient(conn).Register(t.Context(), r); err == nil {
			t.Errorf("%v is taken", r)
		}
	}
}

// One that does not say how it works is told why it is not used, in the words
// that plugins know from upstream, and the node has nothing of it.
func TestNoOptions(t *testing.T) {
	b := newBench(t, t.TempDir())
	err := b.introduce(&vendor{broken: errors.New("out of order")})
	if err == nil || !strings.Contains(err.Error(), "failed to get device plugin options") || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("it is told %v", err)
	}
	if capacity, _ := b.Capacity(); len(capacity) > 0 {
		t.Errorf("the node has %v", capacity)
	}
}

// One that cannot say what there is leaves the node with none of its devices,
// rather than without a word of them.
func TestNoDevices(t *testing.T) {
	b := newBench(t, t.TempDir())
	if err := b.introduce(&vendor{mute: errors.New("out of order")}); err != nil {
		t.Fatal(err)
	}
	b.await()
	if capacity, _ := b.Capacity(); !capacity.Name(gpu, resource.DecimalSI).IsZero() || len(capacity) != 1 {
		t.Errorf("the node has %v", capacity)
	}
	b.expect(0, 0, 0)
}
