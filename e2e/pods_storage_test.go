package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// storageTests are about volumes that hold data.
func storageTests() []podTest {
	return []podTest{
		{"emptyDir volumes", testEmptyDirs},
		{"hostPath volumes and what is wrong with them", testHostPaths},
		{"parts of volumes", testSubPaths},
		{"parts of volumes stay in the volume", testSubPathEscape},
		{"claims on directories of the node", testClaims},
		{"volumes that come and go with a pod", testEphemeralVolume},
		{"volumes made of images", testImageVolumes},
		{"mounts spread into containers", testPropagation},
		{"mounts spread out of containers", testPropagationOutwards},
		{"CSI volumes", testCSI},
		{"CSI volumes that are attached first", testCSIAttach},
		{"CSI volumes, more than the node takes", testCSILimit},
		{"CSI volumes of a pod's own, and block devices", testCSIInlineAndBlock},
	}
}

func sleeper(name string) *corev1.Pod { return boxPod(name, "sleep", "infinity") }

// runIn runs testbox in the first container of a pod.
func (c *podCluster) runIn(t *testing.T, pod string, args ...string) (string, error) {
	t.Helper()
	out, err := c.Try(t.Context(), append([]string{
		lab.Component(t, "bin/kubectl"), "--kubeconfig", adminConf, "-n", c.Namespace, "exec", pod, "--", "/testbox",
	}, args...)...)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("exit code %d: %s", out.Code, out.Stderr)
	}
	return out.Stdout, err
}

// mustRunIn is runIn that goes well.
func (c *podCluster) mustRunIn(t *testing.T, pod string, args ...string) string {
	t.Helper()
	out, err := c.runIn(t, pod, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func testEmptyDirs(t *testing.T, c *podCluster) {
	p := sleeper("dirs")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(2500))}
	c.mount(p, "disk", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	c.mount(p, "memory", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("1Mi")),
	}})
	c.Create(t, p)
	p = c.AwaitReady(t, "dirs")
	list := c.mustRunIn(t, "dirs", "ls", "/")
	for _, name := range []string{"disk", "memory"} {
		if !strings.Contains(list, "dgrwxrwxrwx 0:2500 ") || !strings.Contains(list, " "+name+"\n") {
			t.Errorf("%s: %s", name, list)
		}
	}
	if out, err := c.runIn(t, "dirs", "write", "/memory/big", strings.Repeat("x", 100_000)); err != nil {
		t.Errorf("a small file: %v %s", err, out)
	}
	dir := filepath.Join("/var/lib/kubelet/pods", string(p.UID))
	mounts := c.Run(t, "cat", "/proc/self/mountinfo")
	if !strings.Contains(mounts, dir+"/volumes/kubernetes.io~empty-dir/memory") || !strings.Contains(mounts, "size=1024k") {
		t.Errorf("no tmpfs of 1 MiB in %s", mounts)
	}
	c.Delete(t, "dirs", nil)
	c.AwaitGone(t, "dirs")
	lab.Until(t, patience, "see the pod's directory gone", func(context.Context) error {
		if c.Exists(t, dir) {
			return errors.New("it is there")
		}
		return nil
	})
}

func testHostPaths(t *testing.T, c *podCluster) {
	dir := "/tmp/" + c.Namespace
	p := sleeper("host")
	c.mount(p, "new", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir + "/new", Type: new(corev1.HostPathDirectoryOrCreate)}})
	c.mount(p, "null", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/dev/null", Type: new(corev1.HostPathCharDev)}})
	c.Create(t, p)
	c.AwaitReady(t, "host")
	c.mustRunIn(t, "host", "write", "/new/file", "from the pod")
	if got := c.ReadFile(t, dir+"/new/file"); got != "from the pod\n" {
		t.Errorf("the host reads %q", got)
	}
	bad := sleeper("bad")
	c.mount(bad, "v", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir + "/new/file", Type: new(corev1.HostPathDirectory)}})
	c.Create(t, bad)
	c.AwaitMessage(t, "bad", "FailedMount", exactly(`MountVolume.SetUp failed for volume "v" : hostPath type check failed: `+dir+"/new/file is not a directory"))
	if phase := c.Get(t, "bad").Status.Phase; phase != corev1.PodPending {
		t.Errorf("phase %s", phase)
	}
	// What was wrong is put right, and the pod runs.
	c.Remove(t, dir+"/new/file")
	if err := c.Do(func() error { return os.Mkdir(dir+"/new/file", 0o755) }); err != nil {
		t.Fatal(err)
	}
	c.AwaitReady(t, "bad")
}

func testSubPaths(t *testing.T, c *podCluster) {
	p := sleeper("parts")
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Spec.InitContainers = []corev1.Container{{
		Name: "seed", Image: testImage, Args: []string{"write", "/v/parts.txt", "seeded"},
		VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}},
	}}
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
		{Name: "v", MountPath: "/dir", SubPath: "a/b"},
		{Name: "v", MountPath: "/file", SubPathExpr: "$(POD).txt"},
		{Name: "v", MountPath: "/all", ReadOnly: true},
	}
	c.Create(t, p)
	c.AwaitReady(t, "parts")
	if got := c.mustRunIn(t, "parts", "cat", "/file"); got != "seeded\n" {
		t.Errorf("the file reads %q", got)
	}
	c.mustRunIn(t, "parts", "write", "/dir/x", "deep")
	if got := c.mustRunIn(t, "parts", "cat", "/all/a/b/x"); got != "deep\n" {
		t.Errorf("through the whole volume it reads %q", got)
	}
	if _, err := c.runIn(t, "parts", "write", "/all/y", "z"); err == nil {
		t.Error("a volume that is read-only was written to")
	}
	c.Delete(t, "parts", nil)
	c.AwaitGone(t, "parts")
}

func testSubPathEscape(t *testing.T, c *podCluster) {
	dir := "/tmp/" + c.Namespace
	if err := c.Do(func() error {
		return errors.Join(os.MkdirAll(dir+"/v", 0o755), os.Symlink("/etc/kubernetes", dir+"/v/evil"))
	}); err != nil {
		t.Fatal(err)
	}
	p := sleeper("escape")
	c.mount(p, "v", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir + "/v"}})
	p.Spec.Containers[0].VolumeMounts[0].SubPath = "evil"
	c.Create(t, p)
	c.Await(t, "escape", "refused", func(p *corev1.Pod) error {
		const why = `failed to prepare subPath for volumeMount "v" of container "escape"`
		if w := statusOf(p, "escape").State.Waiting; w == nil || w.Reason != "CreateContainerConfigError" || w.Message != why {
			return errors.New("it is not")
		}
		return nil
	})
}

// volume makes a PersistentVolume and a claim that is bound to it; both are named
// after the test's namespace.
func (c *podCluster) volume(t *testing.T, name string, src corev1.PersistentVolumeSource, change ...func(*corev1.PersistentVolume)) (pv string) {
	t.Helper()
	pv = c.Namespace + "-" + name
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: pv},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource:        src,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{Namespace: c.Namespace, Name: name},
		},
	}
	if src.Local != nil {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{c.Name}}},
		}}}}
	}
	for _, f := range change {
		f(v)
	}
	if _, err := c.Client.CoreV1().PersistentVolumes().Create(t.Context(), v, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Client.CoreV1().PersistentVolumeClaims(c.Namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(""), VolumeName: pv, AccessModes: v.Spec.AccessModes, VolumeMode: v.Spec.VolumeMode,
			Resources: corev1.VolumeResourceRequirements{Requests: v.Spec.Capacity},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pv
}

func claimed(name string, readOnly bool) corev1.VolumeSource {
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name, ReadOnly: readOnly}}
}

func testClaims(t *testing.T, c *podCluster) {
	dir := "/var/lib/" + c.Namespace
	if err := c.Do(func() error { return os.MkdirAll(dir+"/local/sub", 0o700) }); err != nil {
		t.Fatal(err)
	}
	c.volume(t, "host", corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir + "/host", Type: new(corev1.HostPathDirectoryOrCreate)}})
	pv := c.volume(t, "local", corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir + "/local"}})
	p := sleeper("data")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(2600)), RunAsUser: new(int64(1000))}
	c.mount(p, "host", claimed("host", false))
	c.mount(p, "local", claimed("local", false))
	c.Create(t, p)
	p = c.AwaitReady(t, "data")
	c.mustRunIn(t, "data", "write", "/local/sub/file", "kept")
	if list := c.mustRunIn(t, "data", "ls", "/local"); !strings.Contains(list, "dgrwxrwx--- 0:2600 ") {
		t.Errorf("the volume is not the group's: %s", list)
	}
	mount := filepath.Join("/var/lib/kubelet/pods", string(p.UID), "volumes/kubernetes.io~local-volume", pv)
	if mounts := c.Run(t, "cat", "/proc/self/mountinfo"); !strings.Contains(mounts, mount) {
		t.Errorf("nothing is mounted at %s", mount)
	}
	// Another pod reads what the first wrote, also after that is gone.
	reader := sleeper("reader")
	c.mount(reader, "local", claimed("local", true))
	c.Create(t, reader)
	c.AwaitReady(t, "reader")
	c.Delete(t, "data", nil)
	c.AwaitGone(t, "data")
	if got := c.mustRunIn(t, "reader", "cat", "/local/sub/file"); got != "kept\n" {
		t.Errorf("it reads %q", got)
	}
	if _, err := c.runIn(t, "reader", "write", "/local/sub/file", "changed"); err == nil {
		t.Error("a claim that is read-only was written to")
	}
	c.Delete(t, "reader", nil)
	c.AwaitGone(t, "reader")
	if got := c.ReadFile(t, dir+"/local/sub/file"); got != "kept\n" {
		t.Errorf("the host reads %q", got)
	}
	if mounts := c.Run(t, "cat", "/proc/self/mountinfo"); strings.Contains(mounts, pv) {
		t.Errorf("something of %s is mounted: %s", pv, mounts)
	}
}

func testImageVolumes(t *testing.T, c *podCluster) {
	p := sleeper("image")
	c.mount(p, "img", corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: testImage, PullPolicy: corev1.PullIfNotPresent}})
	c.Create(t, p)
	c.AwaitReady(t, "image")
	if list := c.mustRunIn(t, "image", "ls", "/img"); !strings.Contains(list, " testbox\n") {
		t.Errorf("the image holds %s", list)
	}
	if _, err := c.runIn(t, "image", "write", "/img/x", "y"); err == nil {
		t.Error("an image was written to")
	}
	missing := sleeper("missing")
	c.mount(missing, "img", corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "boot.internal/nothing:1", PullPolicy: corev1.PullNever}})
	c.Create(t, missing)
	c.Await(t, "missing", "without its image", func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Waiting == nil ||
			p.Status.ContainerStatuses[0].State.Waiting.Reason != "ErrImageNeverPull" {
			return errors.New("it does not say so")
		}
		return nil
	})
}

// A claim made for a pod is the pod's: its volume is used, and it goes with the pod.
func testEphemeralVolume(t *testing.T, c *podCluster) {
	dir := "/var/lib/" + c.Namespace
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	if _, err := c.Client.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: c.Namespace},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: new(corev1.HostPathDirectoryOrCreate)}},
			Capacity:               size, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: c.Namespace,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := sleeper("owner")
	c.mount(p, "scratch", corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(c.Namespace), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
	}}})
	c.Create(t, p)
	c.AwaitReady(t, "owner")
	c.mustRunIn(t, "owner", "write", "/scratch/file", "mine")
	if got := c.ReadFile(t, dir+"/file"); got != "mine\n" {
		t.Errorf("the volume holds %q", got)
	}
	claims := c.Client.CoreV1().PersistentVolumeClaims(c.Namespace)
	if _, err := claims.Get(t.Context(), "owner-scratch", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	c.Delete(t, "owner", nil)
	c.AwaitGone(t, "owner")
	lab.Until(t, patience, "see the claim gone", func(ctx context.Context) error {
		claim, err := claims.Get(ctx, "owner-scratch", metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("it is %s", claim.Status.Phase)
	})
}
