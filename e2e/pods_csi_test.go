package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// driver starts a CSI driver, with its object in the API, and waits until the
// node knows it.
func (c *podCluster) driver(t *testing.T, change func(*storagev1.CSIDriverSpec)) (driverProcess, func()) {
	t.Helper()
	name := c.Namespace + ".example.com"
	spec := storagev1.CSIDriverSpec{
		AttachRequired: new(false), PodInfoOnMount: new(true), FSGroupPolicy: new(storagev1.FileFSGroupPolicy),
		VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral},
	}
	change(&spec)
	if _, err := c.Client.StorageV1().CSIDrivers().Create(t.Context(), &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	d, stop := startDriver(t, c.Node, name)
	c.awaitDriver(t, name)
	return d, stop
}

// awaitDriver waits until the API says that the node has a driver.
func (c *podCluster) awaitDriver(t *testing.T, name string) {
	t.Helper()
	lab.Until(t, patience, "see driver "+name+" in the API", func(ctx context.Context) error {
		n, err := c.Client.StorageV1().CSINodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(n.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Name == name })
		if i < 0 {
			return fmt.Errorf("there are only %v", n.Spec.Drivers)
		}
		d := n.Spec.Drivers[i]
		if d.NodeID != "id-of-"+name || !slices.Equal(d.TopologyKeys, []string{name + "/zone"}) || d.Allocatable == nil || *d.Allocatable.Count != 7 {
			return fmt.Errorf("it says %+v", d)
		}
		node, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !strings.Contains(node.Annotations["csi.volume.kubernetes.io/nodeid"], `"`+name+`":"id-of-`+name+`"`) || node.Labels[name+"/zone"] != "z1" {
			return errors.New("the Node says nothing of it")
		}
		return nil
	})
}

func csiSource(driver, handle string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
		Driver: driver, VolumeHandle: handle, VolumeAttributes: map[string]string{"colour": "green"},
	}}
}

// A volume is staged once and published to each pod, and taken back in the
// other order, though the driver was away when the last pod ended.
func testCSI(t *testing.T, c *podCluster) {
	d, stop := c.driver(t, func(*storagev1.CSIDriverSpec) {})
	handle := "vol-" + c.Namespace
	c.volume(t, "data", csiSource(d.name, handle))
	first, second := sleeper("first"), sleeper("second")
	for _, p := range []*corev1.Pod{first, second} {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(2700)), RunAsUser: new(int64(1000))}
		c.mount(p, "data", claimed("data", false))
		c.Create(t, p)
	}
	p := c.AwaitReady(t, "first")
	c.AwaitReady(t, "second")
	c.mustRunIn(t, "first", "write", "/data/file", "shared")
	if got := c.mustRunIn(t, "second", "cat", "/data/file"); got != "shared\n" {
		t.Errorf("the other pod reads %q", got)
	}
	published := d.calls(t, handle, "NodePublishVolume")
	attributes, _ := published[0].Request["volumeContext"].(map[string]any)
	if attributes["colour"] != "green" || attributes["csi.storage.k8s.io/pod.namespace"] != c.Namespace || attributes["csi.storage.k8s.io/ephemeral"] != "false" {
		t.Errorf("the driver was told %v", attributes)
	}
	target := "/var/lib/kubelet/pods/" + string(p.UID) + "/volumes/kubernetes.io~csi/" + c.Namespace + "-data"
	if data := c.ReadFile(t, target+"/vol_data.json"); !strings.Contains(data, `"volumeHandle":"`+handle+`"`) {
		t.Errorf("vol_data.json is %s", data)
	}
	c.Delete(t, "first", nil)
	c.AwaitGone(t, "first")
	if calls := d.calls(t, handle, "NodeUnstageVolume"); len(calls) > 0 {
		t.Error("the volume was unstaged while a pod used it")
	}
	stop()
	c.Delete(t, "second", nil)
	_, _ = startDriver(t, c.Node, d.name)
	c.AwaitGone(t, "second")
	lab.Until(t, patience, "see the volume taken back", func(context.Context) error {
		if calls := d.calls(t, handle, "NodeUnstageVolume"); len(calls) == 0 {
			return errors.New("it was not unstaged")
		}
		if mounts := c.Run(t, "cat", "/proc/self/mountinfo"); strings.Contains(mounts, c.Namespace+"-data") || strings.Contains(mounts, d.name) {
			return errors.New("something of it is mounted")
		}
		return nil
	})
	if unpublished := d.calls(t, handle, "NodeUnpublishVolume"); len(unpublished) < 2 {
		t.Errorf("unpublished %v", unpublished)
	}
	if got := c.ReadFile(t, driverDir(d.name)+"/"+handle+"/file"); got != "shared\n" {
		t.Errorf("the volume holds %q", got)
	}
}

// Before a volume is attached nothing is asked of the driver, and the node says
// that it uses the volume for as long as it does.
func testCSIAttach(t *testing.T, c *podCluster) {
	d, _ := c.driver(t, func(s *storagev1.CSIDriverSpec) { s.AttachRequired = new(true) })
	handle := "vol-" + c.Namespace
	c.volume(t, "data", csiSource(d.name, handle))
	unique := corev1.UniqueVolumeName("kubernetes.io/csi/" + d.name + "^" + handle)
	p := sleeper("user")
	c.mount(p, "data", claimed("data", false))
	c.Create(t, p)
	inUse := func(ctx context.Context) error {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err == nil && !slices.Contains(n.Status.VolumesInUse, unique) {
			err = fmt.Errorf("the node uses %v", n.Status.VolumesInUse)
		}
		return err
	}
	lab.Until(t, patience, "see the volume in use", inUse)
	if calls := d.calls(t, handle); len(calls) > 0 {
		t.Errorf("called before it was attached: %v", calls)
	}
	c.attach(t, handle, map[string]string{"device": "/dev/green"})
	c.AwaitReady(t, "user")
	for _, call := range d.calls(t, handle, "NodeStageVolume", "NodePublishVolume") {
		if told, _ := call.Request["publishContext"].(map[string]any); told["device"] != "/dev/green" {
			t.Errorf("%s was told %v", call.Method, told)
		}
	}
	c.Delete(t, "user", nil)
	c.AwaitGone(t, "user")
	d.await(t, handle, "NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume")
	lab.Until(t, patience, "see the volume no longer in use", func(ctx context.Context) error {
		if inUse(ctx) == nil {
			return errors.New("it is")
		}
		return nil
	})
}

// attach does what an external attacher does.
func (c *podCluster) attach(t *testing.T, handle string, metadata map[string]string) {
	t.Helper()
	c.answerAttach(t, handle, func(s *storagev1.VolumeAttachmentStatus) { s.Attached, s.AttachmentMetadata = true, metadata })
}

// answerAttach waits until a volume of the namespace is to be attached, and says what
// has come of that.
func (c *podCluster) answerAttach(t *testing.T, handle string, answer func(*storagev1.VolumeAttachmentStatus)) {
	t.Helper()
	lab.Until(t, patience, "say what has come of attaching volume "+handle, func(ctx context.Context) error {
		all, err := c.Client.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, a := range all.Items {
			if a.Spec.Source.PersistentVolumeName == nil || !strings.HasPrefix(*a.Spec.Source.PersistentVolumeName, c.Namespace) {
				continue
			}
			answer(&a.Status)
			_, err := c.Client.StorageV1().VolumeAttachments().UpdateStatus(ctx, &a, metav1.UpdateOptions{})
			return err
		}
		return fmt.Errorf("nobody asks for volume %s to be attached", handle)
	})
}

func testCSIInlineAndBlock(t *testing.T, c *podCluster) {
	if err := c.Do(func() error { _, err := os.Stat("/dev/loop0"); return err }); errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no block device")
	} else if err != nil {
		t.Fatal(err)
	}
	d, _ := c.driver(t, func(*storagev1.CSIDriverSpec) {})
	handle := "vol-" + c.Namespace
	c.volume(t, "disk", csiSource(d.name, handle), func(pv *corev1.PersistentVolume) { pv.Spec.VolumeMode = new(corev1.PersistentVolumeBlock) })
	p := sleeper("both")
	c.mount(p, "inline", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: d.name, VolumeAttributes: map[string]string{"a": "b"}}})
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "disk", VolumeSource: claimed("disk", false)})
	p.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "disk", DevicePath: "/dev/disk"}}
	c.Create(t, p)
	p = c.AwaitReady(t, "both")
	c.mustRunIn(t, "both", "write", "/inline/file", "x")
	if list := c.mustRunIn(t, "both", "ls", "/dev"); !strings.Contains(list, "D") || !strings.Contains(list, " disk\n") {
		t.Errorf("no block device: %s", list)
	}
	c.Delete(t, "both", nil)
	c.AwaitGone(t, "both")
	d.await(t, handle, "NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume")
	lab.Until(t, patience, "see nothing left of the pod", func(context.Context) error {
		mounts := c.Run(t, "cat", "/proc/self/mountinfo")
		if strings.Contains(mounts, string(p.UID)) {
			return errors.New("something of it is mounted")
		}
		return nil
	})
}
