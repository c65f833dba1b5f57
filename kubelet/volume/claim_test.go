package volume

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/volume/csi"
	"boot.internal/nstest"
)

// withAPI gives volumes an API with the objects.
func withAPI(t *testing.T, v *Volumes, objects ...runtime.Object) *fake.Clientset {
	t.Helper()
	api := fake.NewClientset(objects...)
	client := func() kubernetes.Interface { return api }
	v.Client = client
	v.Event = func(_ *v1.Pod, _, reason, message string) { t.Logf("event %s: %s", reason, message) }
	v.CSI = csi.New(csi.Options{
		RootDir: filepath.Dir(v.PodsDir), Node: "n1", Client: client,
		NodeObject: func() *v1.Node { return nil }, InUse: func([]v1.UniqueVolumeName) {},
		Arrived: func() {}, Event: v.Event, Log: slog.New(slog.DiscardHandler),
	})
	return api
}

// bound returns a claim and the volume it is bound to.
func boundTo(src v1.PersistentVolumeSource) (*v1.PersistentVolumeClaim, *v1.PersistentVolume) {
	pvc := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", UID: "c-uid"},
		Spec:       v1.PersistentVolumeClaimSpec{VolumeName: "pv"},
		Status:     v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound},
	}
	pv := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv"},
		Spec:       v1.PersistentVolumeSpec{PersistentVolumeSource: src, ClaimRef: &v1.ObjectReference{UID: "c-uid"}},
	}
	return pvc, pv
}

func claimVolume(readOnly bool) v1.Volume {
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{
		PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c", ReadOnly: readOnly},
	}}
}

func localVolume(dir string) v1.PersistentVolumeSource {
	return v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: dir}}
}

func TestClaimOnHostPath(t *testing.T) {
	dir := t.TempDir()
	pvc, pv := boundTo(v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: dir + "/new", Type: new(v1.HostPathDirectoryOrCreate)}})
	v, p := newVolumes(t), newPod(claimVolume(true))
	api := withAPI(t, v, pvc, pv)
	all, err := v.Setup(t.Context(), p)
	if want := (pod.Volume{Path: dir + "/new", ReadOnly: true}); err != nil || all["v"] != want {
		t.Errorf("got %v, %v", all, err)
	}
	// A container that is started again does not need the API.
	api.ClearActions()
	if _, err := v.Setup(t.Context(), p); err != nil || len(api.Actions()) > 0 {
		t.Errorf("asked %v, %v", api.Actions(), err)
	}
}

func TestClaimRefused(t *testing.T) {
	block := v1.PersistentVolumeBlock
	for name, tc := range map[string]struct {
		change func(*v1.PersistentVolumeClaim, *v1.PersistentVolume, *v1.Pod)
		want   string
	}{
		"not bound":       {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume, _ *v1.Pod) { c.Status.Phase = v1.ClaimPending }, "error processing PVC ns/c: PVC is not bound"},
		"without volume":  {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume, _ *v1.Pod) { c.Spec.VolumeName = "" }, "PVC has empty pvc.Spec.VolumeName"},
		"not found":       {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume, _ *v1.Pod) { c.Name = "other" }, `failed to fetch PVC from API server: persistentvolumeclaims "c" not found`},
		"volume is gone":  {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) { pv.Name = "other" }, "failed to fetch PV pv from API server"},
		"nobody's volume": {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) { pv.Spec.ClaimRef = nil }, "found PV object pv but it has a nil pv.Spec.ClaimRef"},
		"another claim's": {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) { pv.Spec.ClaimRef.UID = "x" }, "pv.Spec.ClaimRef.UID x does not point to claim.UID c-uid"},
		"being deleted": {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume, _ *v1.Pod) {
			c.DeletionTimestamp, c.Finalizers = new(metav1.Now()), []string{"other"}
		}, "PVC is being deleted"},
		"a device": {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) { pv.Spec.VolumeMode = &block }, "volume v has volumeMode Block, but is specified in volumeMounts"},
		"no device": {func(_ *v1.PersistentVolumeClaim, _ *v1.PersistentVolume, p *v1.Pod) {
			p.Spec.Containers[0].VolumeMounts, p.Spec.Containers[0].VolumeDevices = nil, []v1.VolumeDevice{{Name: "v"}}
		}, "volume v has volumeMode Filesystem, but is specified in volumeDevices"},
		"another's own": {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume, p *v1.Pod) {
			p.Spec.Volumes[0].VolumeSource = v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{}}
			c.Name = "p-v"
		}, "PVC ns/p-v was not created for pod ns/p (pod is not owner)"},
		"of a kind nobody makes": {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) {
			pv.Spec.PersistentVolumeSource = v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{}}
		}, "no volume plugin matched for PersistentVolume pv of kind nfs"},
		"missing": {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) {
			pv.Spec.Local.Path = "/does/not/exist"
		}, `path "/does/not/exist" does not exist`},
		"out of place": {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) { pv.Spec.Local.Path += "/../x" }, "must not contain '..'"},
		"a file": {func(_ *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, _ *v1.Pod) {
			pv.Spec.Local.Path = "/proc/self/status"
		}, "only directory and block device are supported"},
	} {
		t.Run(name, func(t *testing.T) {
			v, p := newVolumes(t), newPod(claimVolume(false))
			pvc, pv := boundTo(localVolume(t.TempDir()))
			tc.change(pvc, pv, p)
			withAPI(t, v, pvc, pv)
			_, err := v.Setup(t.Context(), p)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestEphemeralClaim(t *testing.T) {
	pvc, pv := boundTo(v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/tmp"}})
	v := newVolumes(t)
	p := newPod(v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{}}})
	pvc.Name = "p-v"
	pvc.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID, Controller: new(true)}}
	withAPI(t, v, pvc, pv)
	if got := setup(t, v, p); got != "/tmp" {
		t.Errorf("path %s", got)
	}
}

// local sets up a pod with a UID on a claim, and takes it down with the test.
func local(t *testing.T, v *Volumes, uid types.UID, readOnly bool, group *int64) string {
	t.Helper()
	p := newPod(claimVolume(readOnly))
	p.UID, p.Spec.SecurityContext = uid, &v1.PodSecurityContext{FSGroup: group}
	t.Cleanup(func() {
		if err := v.Teardown(context.WithoutCancel(t.Context()), uid); err != nil {
			t.Error(err)
		}
	})
	return setup(t, v, p)
}

func TestLocalDirectory(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := newVolumes(t)
	pvc, pv := boundTo(localVolume(dir))
	withAPI(t, v, pvc, pv)
	path := local(t, v, "a", false, new(int64(2000)))
	if want := filepath.Join(v.PodsDir, "a/volumes/kubernetes.io~local-volume/pv"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if mode, gid := modeOf(t, dir+"/file"); mode != 0o660 || gid != 2000 {
		t.Errorf("mode %v, group %d", mode, gid)
	}
	// Another pod cannot take it away from the first; one may be read-only.
	other := local(t, v, "b", true, new(int64(3000)))
	if _, gid := modeOf(t, dir+"/file"); gid != 2000 {
		t.Errorf("group %d", gid)
	}
	if err := os.WriteFile(other+"/new", nil, 0o600); !os.IsPermission(err) && !strings.Contains(err.Error(), "read-only") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(path+"/new", nil, 0o600); err != nil {
		t.Error(err)
	}
	// What is behind the mount outlives the pod.
	for _, uid := range []types.UID{"a", "b"} {
		if err := v.Teardown(t.Context(), uid); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir + "/file"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(v.PodsDir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Release takes the volumes of a pod that is over, and nothing that is behind
// them.
func TestReleaseKeepsTheData(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	dir := t.TempDir()
	v := newVolumes(t)
	pvc, pv := boundTo(localVolume(dir))
	withAPI(t, v, pvc, pv)
	path := local(t, v, "a", false, nil)
	if err := os.WriteFile(path+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPod(claimVolume(false))
	p.UID = "a"
	if _, err := v.SubPath(t.Context(), p, pod.SubPath{Container: "main", Name: "v", Volume: pod.Volume{Path: path}, Path: "file"}); err != nil {
		t.Fatal(err)
	}
	if !v.hasLasting("a") {
		t.Error("it does not know of the volume")
	}
	if err := v.Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/file"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{volumesDir, devicesDir, subPathsDir} {
		if _, err := os.Stat(filepath.Join(v.podDir("a"), name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := v.kept.get("a", "v"); ok || len(v.Lasting(p)) > 0 {
		t.Error("the volume is still known")
	}
	// Nobody brings it back.
	if err := v.Tend(t.Context(), p); err != nil || v.hasLasting("a") {
		t.Errorf("it is back: %v", err)
	}
}

// Volumes that an earlier process made are known again, once they are tended.
func TestTendAfterRestart(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	v := newVolumes(t)
	pvc, pv := boundTo(localVolume(t.TempDir()))
	withAPI(t, v, pvc, pv)
	path := local(t, v, "a", false, nil)
	p := newPod(claimVolume(false))
	p.UID = "a"
	v.kept = kept{}
	if got := v.Lasting(p); len(got) > 0 {
		t.Errorf("it knows of %v", got)
	}
	if err := v.Tend(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := v.Lasting(p); len(got) != 1 || got[0].Path != path || got[0].Claim != "c" || got[0].Driver {
		t.Errorf("it knows of %v", got)
	}
}

// blockDevice makes a device, which need not work, and returns its path.
func blockDevice(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dev")
	if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))); errors.Is(err, unix.EPERM) {
		t.Skip("this root may make no devices")
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLocalBlockDevice(t *testing.T) {
	needRoot(t)
	device := blockDevice(t)
	pvc, pv := boundTo(localVolume(device))
	pv.Spec.VolumeMode = new(v1.PersistentVolumeBlock)
	p := newPod(claimVolume(true))
	p.Spec.Containers[0].VolumeMounts, p.Spec.Containers[0].VolumeDevices = nil, []v1.VolumeDevice{{Name: "v", DevicePath: "/dev/x"}}
	v := newVolumes(t)
	withAPI(t, v, pvc, pv)
	all, err := v.Setup(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	got := all["v"]
	if to, err := os.Readlink(got.Device); err != nil || to != device || !got.ReadOnly || got.Path != "" {
		t.Errorf("got %v, which leads to %s: %v", got, to, err)
	}
	if err := v.Teardown(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(device); err != nil {
		t.Error(err)
	}
}
