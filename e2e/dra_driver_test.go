package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

// A draDriver is a driver of claims whose devices are colours: a container that has
// one finds its name in COLOUR. It runs in the test, and is reached on the node.
type draDriver struct {
	name string
	pool string // of its devices: the node
	stop func() // leaves the sockets behind, as a crash would

	mu    sync.Mutex
	fails int      // calls to prepare that are still to fail
	calls []string // "prepare CLAIM", "unprepare CLAIM": what went well
}

// colours are the devices of a driver.
func colours() []string { return []string{"red", "green", "blue"} }

func (c *podCluster) draSockets(name string) (registry, data string) {
	return "/var/lib/kubelet/plugins_registry/" + name + "-reg.sock", "/var/lib/kubelet/plugins/" + name
}

// claimDriver starts a driver with a class of its name, and waits until the scheduler
// can know of its devices.
func (c *podCluster) claimDriver(t *testing.T, fails int) *draDriver {
	t.Helper()
	d := &draDriver{name: c.Namespace + ".example.com", pool: c.Name, fails: fails}
	var cdi strings.Builder
	fmt.Fprintf(&cdi, `{"cdiVersion":"0.6.0","kind":"%s/colour","devices":[`, d.name)
	for i, colour := range colours() {
		fmt.Fprintf(&cdi, `%.*s{"name":"%s","containerEdits":{"env":["COLOUR=%s"]}}`, min(i, 1), ",", colour, colour)
	}
	c.Run(t, "mkdir", "-p", "/etc/cdi")
	c.WriteFile(t, "/etc/cdi/"+d.name+".json", cdi.String()+"]}")
	if _, err := c.Client.ResourceV1().DeviceClasses().Create(t.Context(), &resourceapi.DeviceClass{
		ObjectMeta: metav1.ObjectMeta{Name: d.name},
		Spec: resourceapi.DeviceClassSpec{
			ExtendedResourceName: new(c.Namespace + ".example.com/colour"),
			Selectors:            []resourceapi.DeviceSelector{{CEL: &resourceapi.CELDeviceSelector{Expression: `device.driver == "` + d.name + `"`}}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.runDriver(t, d)
	return d
}

// runDriver has a driver register and publish its devices. It may have run before.
func (c *podCluster) runDriver(t *testing.T, d *draDriver) {
	t.Helper()
	registration, data := c.draSockets(d.name)
	c.Run(t, "rm", "-f", registration, path.Join(data, "dra.sock"))
	c.Run(t, "mkdir", "-p", data)
	listen := func(_ context.Context, path string) (net.Listener, error) { return c.Listen("unix", path) }
	h, err := kubeletplugin.Start(context.WithoutCancel(t.Context()), d,
		kubeletplugin.DriverName(d.name), kubeletplugin.NodeName(c.Name), kubeletplugin.KubeClient(c.Client),
		kubeletplugin.RegistrarListener(listen), kubeletplugin.PluginListener(listen))
	if err != nil {
		t.Fatal(err)
	}
	d.stop = sync.OnceFunc(h.Stop)
	t.Cleanup(d.stop)
	var devices []resourceapi.Device
	for _, colour := range colours() {
		devices = append(devices, resourceapi.Device{Name: colour})
	}
	if err := h.PublishResources(t.Context(), resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{
		c.Name: {Slices: []resourceslice.Slice{{Devices: devices}}},
	}}); err != nil {
		t.Fatal(err)
	}
}

// called returns what the driver did, repetitions aside: what it is asked for again if
// its answer was lost, it has done.
func (d *draDriver) called() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Compact(slices.Clone(d.calls))
}

func (d *draDriver) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails > 0 {
		d.fails--
		return nil, errors.New("the colours are not dry")
	}
	all := map[types.UID]kubeletplugin.PrepareResult{}
	for _, c := range claims {
		d.calls = append(d.calls, "prepare "+c.Name)
		var r kubeletplugin.PrepareResult
		for _, is := range c.Status.Allocation.Devices.Results {
			r.Devices = append(r.Devices, kubeletplugin.Device{
				Requests: []string{is.Request}, PoolName: is.Pool, DeviceName: is.Device, CDIDeviceIDs: []string{d.name + "/colour=" + is.Device},
			})
		}
		all[c.UID] = r
	}
	return all, nil
}

func (d *draDriver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[types.UID]error{}
	for _, c := range claims {
		d.calls = append(d.calls, "unprepare "+c.Name)
		all[c.UID] = nil
	}
	return all, nil
}

func (*draDriver) HandleError(context.Context, error, string) {}

func (d *draDriver) WatchHealthStatus(ctx context.Context, reports chan<- kubeletplugin.DeviceHealthReport) error {
	var r kubeletplugin.DeviceHealthReport
	for _, colour := range colours() {
		r.Devices = append(r.Devices, kubeletplugin.DeviceHealth{
			PoolName: d.pool, DeviceName: colour, Health: kubeletplugin.HealthStatusHealthy, HealthCheckTimeout: time.Hour,
		})
	}
	select {
	case reports <- r:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}
