package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/e2e/internal/lab"
)

// claimSpec asks for one device of a driver.
func claimSpec(d *draDriver) resourceapi.ResourceClaimSpec {
	return resourceapi.ResourceClaimSpec{Devices: resourceapi.DeviceClaim{Requests: []resourceapi.DeviceRequest{{
		Name: "colour", Exactly: &resourceapi.ExactDeviceRequest{DeviceClassName: d.name},
	}}}}
}

// claim makes a claim for one device.
func (c *podCluster) claim(t *testing.T, d *draDriver, name string) {
	t.Helper()
	if _, err := c.Client.ResourceV1().ResourceClaims(c.Namespace).Create(t.Context(), &resourceapi.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: claimSpec(d),
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// claiming has the container of a pod use a claim.
func claiming(p *corev1.Pod, claim corev1.PodResourceClaim) *corev1.Pod {
	claim.Name = "colour"
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{claim}
	p.Spec.Containers[0].Resources.Claims = []corev1.ResourceClaim{{Name: "colour"}}
	return p
}

// testClaimedDevices has pods use devices of a driver.
func testClaimedDevices(t *testing.T, c *podCluster) {
	d := c.claimDriver(t, 1)
	c.claimByTemplate(t, d)
	c.claimExtended(t, d)
	c.claimShared(t, d)
}

// claimByTemplate has a claim made for a pod that ends. The first try to prepare it
// fails, and the pod is not said to have ended before the device was taken back.
func (c *podCluster) claimByTemplate(t *testing.T, d *draDriver) {
	if _, err := c.Client.ResourceV1().ResourceClaimTemplates(c.Namespace).Create(t.Context(), &resourceapi.ResourceClaimTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "colour"}, Spec: resourceapi.ResourceClaimTemplateSpec{Spec: claimSpec(d)},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := claiming(boxPod("once", "env", "COLOUR"), corev1.PodResourceClaim{ResourceClaimTemplateName: new("colour")})
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	c.Create(t, p)
	c.AwaitMessage(t, "once", "FailedPrepareDynamicResources",
		"^Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources: .*the colours are not dry")
	p = c.AwaitPhase(t, "once", corev1.PodSucceeded)
	claim := *p.Status.ResourceClaimStatuses[0].ResourceClaimName
	if got := d.called(); !slices.Equal(got, []string{"prepare " + claim, "unprepare " + claim}) {
		t.Errorf("the driver was called to %v", got)
	}
	if got := strings.TrimSpace(c.Logs(t, "once", "once")); !slices.Contains(colours(), got) {
		t.Errorf("the colour is %q", got)
	}
	c.Delete(t, "once", nil)
	c.AwaitGone(t, "once")
	lab.Until(t, patience, "see the claim gone", func(ctx context.Context) error {
		_, err := c.Client.ResourceV1().ResourceClaims(c.Namespace).Get(ctx, claim, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there"))
	})
}

// claimExtended has a pod ask for a device as it would ask for one of a plugin.
func (c *podCluster) claimExtended(t *testing.T, d *draDriver) {
	p := boxPod("extended", "env", "COLOUR")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceName(d.name + "/colour"): resource.MustParse("1")}
	c.Create(t, p)
	c.AwaitPhase(t, "extended", corev1.PodSucceeded)
	if got := strings.TrimSpace(c.Logs(t, "extended", "extended")); !slices.Contains(colours(), got) {
		t.Errorf("the colour is %q", got)
	}
}

// claimShared has two pods use one claim: it is taken back with the last of them,
// though the driver is away when that ends.
func (c *podCluster) claimShared(t *testing.T, d *draDriver) {
	c.claim(t, d, "shared")
	for _, name := range []string{"first", "second"} {
		c.Create(t, claiming(sleeper(name), corev1.PodResourceClaim{ResourceClaimName: new("shared")}))
	}
	c.AwaitReady(t, "first")
	c.AwaitReady(t, "second")
	c.Await(t, "second", "with a device that works", func(p *corev1.Pod) error {
		health := p.Status.ContainerStatuses[0].AllocatedResourcesStatus
		if len(health) != 1 || health[0].Name != "claim:colour" || len(health[0].Resources) != 1 || health[0].Resources[0].Health != corev1.ResourceHealthStatusHealthy {
			return fmt.Errorf("devices %v", health)
		}
		return nil
	})
	c.tellsOfClaim(t, d, "second")
	of := func() []string {
		return slices.DeleteFunc(d.called(), func(call string) bool { return !strings.HasSuffix(call, " shared") })
	}
	c.Delete(t, "first", nil)
	c.AwaitGone(t, "first")
	if got := of(); slices.Contains(got, "unprepare shared") {
		t.Errorf("what a pod uses was taken back: %v", got)
	}
	d.stop()
	c.Delete(t, "second", nil)
	c.AwaitEvent(t, "second", "Killing")
	c.runDriver(t, d)
	c.AwaitGone(t, "second")
	if got := of(); got[len(got)-1] != "unprepare shared" {
		t.Errorf("the driver was called to %v", got)
	}
}

// tellsOfClaim asks the node, as agents do, what a pod has.
func (c *podCluster) tellsOfClaim(t *testing.T, d *draDriver, pod string) {
	conn, err := grpc.NewClient("passthrough:///kubelet", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return c.Dial(ctx, "unix", "/var/lib/kubelet/pod-resources/kubelet.sock")
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	resp, err := podresources.NewPodResourcesListerClient(conn).Get(t.Context(), &podresources.GetPodResourcesRequest{PodName: pod, PodNamespace: c.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	has := resp.PodResources.Containers[0].DynamicResources
	if len(has) != 1 || has[0].ClaimName != "shared" || len(has[0].ClaimResources) != 1 || has[0].ClaimResources[0].DriverName != d.name {
		t.Errorf("the node tells of %v", has)
	}
}

// claimsAway has pods with devices end while the loop is away, or not: those that are
// gone lose theirs, the others are what they were.
func (c *podCluster) claimsAway(t *testing.T) {
	d := c.claimDriver(t, 0)
	for _, name := range []string{"keeps", "loses"} {
		c.claim(t, d, name)
		c.Create(t, claiming(sleeper(name), corev1.PodResourceClaim{ResourceClaimName: new(name)}))
		c.AwaitReady(t, name)
	}
	before := ids(c.Get(t, "keeps"))
	comeBack := sendAway(t, c.Node)
	c.Delete(t, "loses", new(int64(0)))
	comeBack()
	var got []string
	lab.Until(t, 2*patience, "see the device of the pod that went taken back", func(context.Context) error {
		if got = d.called(); !slices.Contains(got, "unprepare loses") {
			return fmt.Errorf("the driver was called to %v", got)
		}
		return nil
	})
	if !slices.Equal(got, []string{"prepare keeps", "prepare loses", "unprepare loses"}) {
		t.Errorf("the driver was called to %v", got)
	}
	if after := ids(c.AwaitReady(t, "keeps")); after["keeps"] != before["keeps"] {
		t.Errorf("the container was %v and is %v", before, after)
	}
	c.Delete(t, "keeps", nil)
	c.AwaitGone(t, "keeps")
	if got := d.called(); !slices.Contains(got, "unprepare keeps") {
		t.Errorf("the driver was called to %v", got)
	}
}
