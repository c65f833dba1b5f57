package e2e

import (
	"context"
	"fmt"
	"net"
	"path"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	device "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"boot.internal/e2e/internal/lab"
)

// A devicePlugin has two devices, of which one works.
type devicePlugin struct {
	device.UnimplementedDevicePluginServer
	resource string
	mount    string               // a directory of the node that comes with the devices
	at       *device.TopologyInfo // where the devices lie; nil: nobody knows
}

const gadget = "e2e.boot.internal/gadget"

func (devicePlugin) GetDevicePluginOptions(context.Context, *device.Empty) (*device.DevicePluginOptions, error) {
	return &device.DevicePluginOptions{}, nil
}

func (p devicePlugin) ListAndWatch(_ *device.Empty, out grpc.ServerStreamingServer[device.ListAndWatchResponse]) error {
	err := out.Send(&device.ListAndWatchResponse{Devices: []*device.Device{
		{ID: "good", Health: device.Healthy, Topology: p.at}, {ID: "bad", Health: device.Unhealthy, Topology: p.at},
	}})
	if err == nil {
		<-out.Context().Done()
	}
	return err
}

func (p devicePlugin) Allocate(_ context.Context, r *device.AllocateRequest) (*device.AllocateResponse, error) {
	return &device.AllocateResponse{ContainerResponses: []*device.ContainerAllocateResponse{{
		Envs:   map[string]string{"GADGETS": strings.Join(r.ContainerRequests[0].DevicesIds, ",")},
		Mounts: []*device.Mount{{ContainerPath: "/gadget", HostPath: p.mount, ReadOnly: true}},
	}}}, nil
}

// serve serves the plugin on the node and registers it, once somebody listens: a loop
// that starts removes the sockets of before.
func (p devicePlugin) serve(t *testing.T, n *lab.Node) {
	t.Helper()
	const dir = "/var/lib/kubelet/device-plugins"
	conn, err := grpc.NewClient("passthrough:///kubelet", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return n.Dial(ctx, "unix", path.Join(dir, "kubelet.sock"))
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	lab.Until(t, patience, "reach the loop's registration socket", func(context.Context) error {
		if s := conn.GetState(); s != connectivity.Ready {
			conn.Connect()
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	socket := path.Base(p.resource) + ".sock"
	l, err := n.Listen("unix", path.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	device.RegisterDevicePluginServer(server, p)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	if _, err := device.NewRegistrationClient(conn).Register(t.Context(), &device.RegisterRequest{
		Version: device.Version, Endpoint: socket, ResourceName: p.resource,
	}); err != nil {
		t.Fatal(err)
	}
}

// awaitDevices waits until the node offers what a plugin has.
func (c *podCluster) awaitDevices(t *testing.T, name corev1.ResourceName) {
	t.Helper()
	lab.Until(t, patience, "see devices of "+string(name)+" on the node", func(ctx context.Context) error {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		has, offers := n.Status.Capacity[name], n.Status.Allocatable[name]
		if has.Value() != 2 || offers.Value() != 1 {
			return fmt.Errorf("capacity is %s, allocatable %s", &has, &offers)
		}
		return nil
	})
}

// liesTogether has the loop refuse what does not lie on NUMA nodes of the machine, of
// which there is one.
func (c *podCluster) liesTogether(t *testing.T) {
	c.reconfigure(t, map[string]any{"topologyManagerPolicy": "restricted"})
	asking := func(name string, node int64) *corev1.Pod {
		of := corev1.ResourceName("e2e.boot.internal/" + name)
		at := &device.TopologyInfo{Nodes: []*device.NUMANode{{ID: node}}}
		devicePlugin{resource: string(of), mount: "/run", at: at}.serve(t, c.Node)
		c.awaitDevices(t, of)
		p := c.pinned(name)
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.Containers[0].Args = []string{"env", "GADGETS"}
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{of: resource.MustParse("1")}
		return p
	}
	c.Create(t, asking("near", 0))
	c.AwaitPhase(t, "near", corev1.PodSucceeded)
	c.Create(t, asking("far", 63))
	const refused = "Resources cannot be allocated with Topology locality"
	if p := c.AwaitPhase(t, "far", corev1.PodFailed); p.Status.Reason != "TopologyAffinityError" || p.Status.Message != "Pod was rejected: "+refused {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}
	if got := c.AwaitEvent(t, "far", "TopologyAffinityError"); got != refused {
		t.Errorf("event %q", got)
	}
}

func testDevices(t *testing.T, c *podCluster) {
	c.WriteFile(t, "/run/e2e-gadget/says", "buzz\n")
	devicePlugin{resource: gadget, mount: "/run/e2e-gadget"}.serve(t, c.Node)
	c.awaitDevices(t, gadget)
	equipped := func(name string, args ...string) *corev1.Pod {
		p := c.pinned(name)
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.Containers[0].Args = args
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{gadget: resource.MustParse("1")}
		return p
	}
	c.Create(t, equipped("env", "env", "GADGETS"))
	c.AwaitPhase(t, "env", corev1.PodSucceeded)
	if got := c.Logs(t, "env", "env"); strings.TrimSpace(got) != "good" {
		t.Errorf("devices are %q", got)
	}
	c.Create(t, equipped("mount", "cat", "/gadget/says"))
	c.AwaitPhase(t, "mount", corev1.PodSucceeded)
	if got := c.Logs(t, "mount", "mount"); got != "buzz\n" {
		t.Errorf("the mount says %q", got)
	}
	c.Create(t, equipped("holder", "sleep", "infinity"))
	c.Await(t, "holder", "running with a device", func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Running == nil {
			return fmt.Errorf("it does not run")
		}
		s := p.Status.ContainerStatuses[0].AllocatedResourcesStatus
		if len(s) != 1 || s[0].Name != gadget || len(s[0].Resources) != 1 || s[0].Resources[0].ResourceID != "good" ||
			s[0].Resources[0].Health != corev1.ResourceHealthStatusHealthy {
			return fmt.Errorf("devices %v", s)
		}
		return nil
	})
	c.Create(t, equipped("late", "sleep", "infinity"))
	if p := c.AwaitPhase(t, "late", corev1.PodFailed); p.Status.Reason != "UnexpectedAdmissionError" ||
		!strings.Contains(p.Status.Message, "requested number of devices unavailable for "+gadget+". Requested: 1, Available: 0") {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}
}
