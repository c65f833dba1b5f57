package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// identityTests are about who a pod and its node are to others.
func identityTests() []podTest {
	return []podTest{
		{"an image of a private registry", testPullSecret},
		{"a pull secret that is not there", testMissingPullSecret},
		{"an image without a name", testImageNames},
		{"the node object", testNodeObject},
	}
}

// putSecret makes a pull secret.
func (c *podCluster) putSecret(t *testing.T, name, config string) {
	t.Helper()
	if _, err := c.Client.CoreV1().Secrets(c.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config)},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// imagePod returns a pod that sleeps in an image.
func imagePod(name, image string, secrets ...string) *corev1.Pod {
	p := boxPod(name, "sleep", "infinity")
	p.Spec.Containers[0].Image = image
	for _, s := range secrets {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return p
}

// waitsFor returns a check that the container of a pod waits for one of the
// reasons.
func waitsFor(reasons ...string) func(*corev1.Pod) error {
	return func(p *corev1.Pod) error {
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && slices.Contains(reasons, w.Reason) {
				return nil
			}
		}
		return fmt.Errorf("it does not wait for %v", reasons)
	}
}

func testPullSecret(t *testing.T, c *podCluster) {
	r := c.NewRegistry(t, map[string]string{"user": "right"})
	c.putSecret(t, "wrong", r.Login("user", "wrong"))
	c.putSecret(t, "right", r.Login("user", "right"))
	image := r.Image("team/box:1")
	c.Create(t, imagePod("with", image, "wrong", "right"))
	p := c.AwaitReady(t, "with")
	if id := p.Status.ContainerStatuses[0].ImageID; !strings.HasPrefix(id, r.Image("team/box@sha256:")) {
		t.Errorf("image ID %s", id)
	}
	c.AwaitMessage(t, "with", "Pulled", "^"+regexp.QuoteMeta(fmt.Sprintf("Successfully pulled image %q in ", image)))

	// What one pod pulled, another does not get for nothing.
	c.Create(t, imagePod("without", image))
	c.Await(t, "without", "refused", func(p *corev1.Pod) error { // others pull, too, and it may have to wait for them at first
		if err := waitsFor("ErrImagePull", "ImagePullBackOff")(p); err != nil {
			return err
		}
		if why := statusOf(p, "without").State.Waiting.Message; !strings.Contains(why, "401") && !strings.Contains(why, "authorization failed") {
			return fmt.Errorf("message %q", why)
		}
		return nil
	})
	never := imagePod("never", image)
	never.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	c.Create(t, never)
	c.Await(t, "never", "refused", waitsFor("ErrImageNeverPull"))
	before := len(r.Pulled())
	again := imagePod("again", image, "right")
	again.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	c.Create(t, again)
	c.AwaitReady(t, "again")
	c.AwaitMessage(t, "again", "Pulled", exactly(fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", image)))
	if slices.Contains(r.Pulled()[before:], "user") {
		t.Error("it was pulled again")
	}
}

func testMissingPullSecret(t *testing.T, c *podCluster) {
	r := c.NewRegistry(t, map[string]string{"user": "right"})
	c.Create(t, imagePod("box", r.Image("box:1"), "late"))
	const want = "Unable to retrieve some image pull secrets (late); attempting to pull the image may not succeed."
	if got := c.AwaitEvent(t, "box", "FailedToRetrieveImagePullSecret"); got != want {
		t.Error(got)
	}
	c.Await(t, "box", "backing off", func(p *corev1.Pod) error {
		if err := waitsFor("ImagePullBackOff")(p); err != nil {
			return err
		}
		want := fmt.Sprintf("Back-off pulling image %q: ErrImagePull: ", r.Image("box:1"))
		if got := p.Status.ContainerStatuses[0].State.Waiting.Message; !strings.HasPrefix(got, want) {
			return fmt.Errorf("message %q", got)
		}
		return nil
	})
	c.putSecret(t, "late", r.Login("user", "right"))
	c.AwaitReady(t, "box")

	// Who needs no secret is not kept from anything.
	open := c.NewRegistry(t, nil)
	c.Create(t, imagePod("open", open.Image("box:1"), "none"))
	c.AwaitReady(t, "open")
}

func testImageNames(t *testing.T, c *podCluster) {
	c.Create(t, imagePod("bad", "UPPER:1"))
	c.Await(t, "bad", "refused", waitsFor("InvalidImageName"))
	never := imagePod("never", "boot.internal/none:1")
	never.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	c.Create(t, never)
	c.Await(t, "never", "refused", waitsFor("ErrImageNeverPull"))
}

// testNodeObject looks at every field that the node fills in.
func testNodeObject(t *testing.T, c *podCluster) {
	lab.Until(t, patience, "see a complete node", func(ctx context.Context) error {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return errors.Join(nodeMeta(n), nodeStatus(n, c.IP), nodeInfo(n))
	})
}

func nodeMeta(n *corev1.Node) error {
	var wrong []error
	for key, want := range map[string]string{
		"kubernetes.io/hostname": n.Name, "kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux",
		"kubernetes.io/arch": n.Status.NodeInfo.Architecture, "beta.kubernetes.io/arch": n.Status.NodeInfo.Architecture,
		"node-role.kubernetes.io/control-plane": "", "node.kubernetes.io/exclude-from-external-load-balancers": "",
	} {
		if got, ok := n.Labels[key]; !ok || got != want {
			wrong = append(wrong, fmt.Errorf("label %s is %q, not %q", key, got, want))
		}
	}
	for key, want := range map[string]string{
		"volumes.kubernetes.io/controller-managed-attach-detach": "true", "node.alpha.kubernetes.io/ttl": "0",
	} {
		if got := n.Annotations[key]; got != want {
			wrong = append(wrong, fmt.Errorf("annotation %s is %q, not %q", key, got, want))
		}
	}
	if n.Spec.PodCIDR == "" || len(n.Spec.PodCIDRs) != 1 {
		wrong = append(wrong, fmt.Errorf("pod CIDRs %v", n.Spec.PodCIDRs))
	}
	return errors.Join(wrong...)
}

func nodeStatus(n *corev1.Node, ip netip.Addr) error {
	var wrong []error
	s := n.Status
	if want := []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip.String()}, {Type: corev1.NodeHostName, Address: n.Name}}; !slices.Equal(s.Addresses, want) {
		wrong = append(wrong, fmt.Errorf("addresses %v", s.Addresses))
	}
	for _, name := range []corev1.ResourceName{"cpu", "memory", "ephemeral-storage", "pods"} {
		have, left := s.Capacity[name], s.Allocatable[name]
		if have.Sign() <= 0 || left.Sign() <= 0 || left.Cmp(have) > 0 {
			wrong = append(wrong, fmt.Errorf("%s: %s of %s", name, left.String(), have.String()))
		}
	}
	if s.DaemonEndpoints.KubeletEndpoint.Port != 10250 {
		wrong = append(wrong, fmt.Errorf("endpoints %v", s.DaemonEndpoints))
	}
	for kind, want := range map[corev1.NodeConditionType]string{
		corev1.NodeReady:          "True KubeletReady kubelet is posting ready status",
		corev1.NodeMemoryPressure: "False KubeletHasSufficientMemory kubelet has sufficient memory available",
		corev1.NodeDiskPressure:   "False KubeletHasNoDiskPressure kubelet has no disk pressure",
		corev1.NodePIDPressure:    "False KubeletHasSufficientPID kubelet has sufficient PID available",
	} {
		i := slices.IndexFunc(s.Conditions, func(c corev1.NodeCondition) bool { return c.Type == kind })
		if i < 0 || fmt.Sprintf("%s %s %s", s.Conditions[i].Status, s.Conditions[i].Reason, s.Conditions[i].Message) != want {
			wrong = append(wrong, fmt.Errorf("condition %s in %+v", kind, s.Conditions))
		}
	}
	if !slices.ContainsFunc(s.RuntimeHandlers, func(h corev1.NodeRuntimeHandler) bool { return h.Name == "" && h.Features != nil }) {
		wrong = append(wrong, fmt.Errorf("runtime handlers %+v", s.RuntimeHandlers))
	}
	if s.Features == nil || s.Features.SupplementalGroupsPolicy == nil {
		wrong = append(wrong, fmt.Errorf("features %+v", s.Features))
	}
	return errors.Join(wrong...)
}

func nodeInfo(n *corev1.Node) error {
	i := n.Status.NodeInfo
	for what, got := range map[string]string{
		"machine ID": i.MachineID, "system UUID": i.SystemUUID, "boot ID": i.BootID, "kernel": i.KernelVersion, "OS image": i.OSImage,
	} {
		if got == "" {
			return fmt.Errorf("no %s in %+v", what, i)
		}
	}
	if !strings.HasPrefix(i.ContainerRuntimeVersion, "containerd://") || !strings.HasPrefix(i.KubeletVersion, "v1.37.") || i.OperatingSystem != "linux" {
		return fmt.Errorf("node info %+v", i)
	}
	return nil
}
