package claim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"

	"boot.internal/kubelet/plugin"
)

const (
	patience = 30 * time.Second
	gpu      = "gpu.example.com"
)

// A node has a Keeper, the API, and drivers that register with real sockets.
type node struct {
	*Keeper
	api     *fake.Clientset
	dir     string
	arrived chan struct{}
	changed chan []types.UID
	stop    func() // ends the Keeper and what registers drivers
}

// newNode makes a node whose API has the claims.
func newNode(t *testing.T, claims ...*resourceapi.ResourceClaim) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "claim") //nolint:usetesting // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &node{api: fake.NewClientset(), dir: dir}
	for _, c := range claims {
		if _, err := n.api.ResourceV1().ResourceClaims(c.Namespace).Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	n.boot(t)
	return n
}

// boot starts the Keeper, again if it ran.
func (n *node) boot(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n.arrived, n.changed = make(chan struct{}, 100), make(chan []types.UID, 100)
	arrived, changed := n.arrived, n.changed
	log := slog.New(slog.DiscardHandler)
	n.Keeper = New(ctx, Options{
		Dir: n.dir, Node: "worker", Client: func() kubernetes.Interface { return n.api },
		Arrived: func() { arrived <- struct{}{} }, Changed: func(pods []types.UID) { changed <- pods },
		Away: 10 * time.Millisecond, Log: log,
	})
	var life sync.WaitGroup
	watcher := plugin.New(plugin.Options{Dir: n.dir + "/registry", Handlers: map[plugin.Type]plugin.Handler{plugin.DRA: n.Keeper}, Log: log})
	life.Go(func() {
		if err := watcher.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() { cancel(); life.Wait() })
	t.Cleanup(n.stop)
}

// until waits for drivers to come until something is so.
func (n *node) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	late := time.After(patience)
	for !is() {
		select {
		case <-n.arrived:
		case <-late:
			t.Fatalf("did not see %s", what)
		}
	}
}

// A driver prepares the devices of claims, and notes what it is called for.
type driver struct {
	name string

	undone chan struct{} // told each time it takes something back

	mu      sync.Mutex
	calls   []string
	fail    error // all claims
	refuse  error // every single one
	reports chan kubeletplugin.DeviceHealthReport
}

// start has the driver register under an instance, and waits until it can be
// reached.
func (n *node) start(t *testing.T, name, instance string, more ...kubeletplugin.Option) (d *driver, stop func()) {
	t.Helper()
	d = &driver{name: name, undone: make(chan struct{}, 100), reports: make(chan kubeletplugin.DeviceHealthReport)}
	registry, data := n.dir+"/registry", n.dir+"/"+name
	for _, dir := range []string{registry, data} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h, err := kubeletplugin.Start(context.WithoutCancel(t.Context()), d, slices.Concat([]kubeletplugin.Option{
		kubeletplugin.DriverName(name), kubeletplugin.NodeName("worker"), kubeletplugin.KubeClient(n.api),
		kubeletplugin.RegistrarDirectoryPath(registry), kubeletplugin.PluginDataDirectoryPath(data),
		kubeletplugin.RollingUpdate(types.UID(instance)),
	}, more)...)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(h.Stop)
	t.Cleanup(stop)
	n.until(t, "driver "+name, func() bool {
		i, err := n.drivers.get(name)
		n.drivers.mu.Lock()
		defer n.drivers.mu.Unlock()
		return err == nil && i.connected && strings.Contains(i.endpoint, instance)
	})
	return d, stop
}

func (d *driver) note(call string) (fail, refuse error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, call)
	return d.fail, d.refuse
}

// called returns what the driver was called for since it was asked last.
func (d *driver) called() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.calls = nil }()
	return strings.Join(d.calls, "; ")
}

func (d *driver) fails(fail, refuse error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.refuse = fail, refuse
}

// PrepareResourceClaims gives each result of an allocation a CDI device.
func (d *driver) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	call, all := "prepare", map[types.UID]kubeletplugin.PrepareResult{}
	for _, c := range claims {
		call += " " + c.Name
		var r kubeletplugin.PrepareResult
		for _, is := range c.Status.Allocation.Devices.Results {
			if is.Driver == d.name {
				r.Devices = append(r.Devices, kubeletplugin.Device{
					Requests: []string{is.Request}, PoolName: is.Pool, DeviceName: is.Device,
					CDIDeviceIDs: []string{fmt.Sprintf("%s/dev=%s-%s", d.name, c.Name, is.Device)},
				})
			}
		}
		all[c.UID] = r
	}
	fail, refuse := d.note(call)
	for uid, r := range all {
		r.Err = refuse
		all[uid] = r
	}
	return all, fail
}

// UnprepareResourceClaims takes them back.
func (d *driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	call := []string{"unprepare"}
	for _, c := range claims {
		call = append(call, c.Name)
	}
	fail, refuse := d.note(strings.Join(call, " "))
	d.undone <- struct{}{}
	all := map[types.UID]error{}
	for _, c := range claims {
		all[c.UID] = refuse
	}
	return all, fail
}

func (d *driver) HandleError(context.Context, error, string) {}

func (d *driver) WatchHealthStatus(ctx context.Context, reports chan<- kubeletplugin.DeviceHealthReport) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-d.reports:
			select {
			case reports <- r:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// claimOf returns a claim that is allocated to pods: a device of each "driver/device
// of request".
func claimOf(name string, pods []string, devices ...string) *resourceapi.ResourceClaim {
	c := &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}}
	for _, p := range pods {
		c.Status.ReservedFor = append(c.Status.ReservedFor, resourceapi.ResourceClaimConsumerReference{Resource: "pods", Name: p, UID: types.UID(p)})
	}
	c.Status.Allocation = &resourceapi.AllocationResult{}
	for _, d := range devices {
		path, request, _ := strings.Cut(d, " of ")
		driver, device, _ := strings.Cut(path, "/")
		c.Status.Allocation.Devices.Results = append(c.Status.Allocation.Devices.Results, resourceapi.DeviceRequestAllocationResult{
			Request: request, Driver: driver, Pool: "pool", Device: device,
		})
	}
	return c
}

// podOf returns a pod with the claims, and a container "main" that uses all of them
// beside one, "side", that uses none.
func podOf(name string, claims ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}}
	main := v1.Container{Name: "main"}
	for _, c := range claims {
		p.Spec.ResourceClaims = append(p.Spec.ResourceClaims, v1.PodResourceClaim{Name: c, ResourceClaimName: new(c)})
		main.Resources.Claims = append(main.Resources.Claims, v1.ResourceClaim{Name: c})
	}
	p.Spec.Containers = []v1.Container{main, {Name: "side"}}
	return p
}

var errBroken = errors.New("it is broken")
