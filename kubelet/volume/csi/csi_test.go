package csi

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// publish publishes a volume to a pod, which is to go well.
func (w *world) mustPublish(r Request) pod.Volume {
	w.Helper()
	vol, err := w.Publish(w.Context(), r)
	if err != nil {
		w.Fatal(err)
	}
	return vol
}

func (w *world) mustUnpublish(uid types.UID) {
	w.Helper()
	if err := w.Unpublish(w.Context(), uid); err != nil {
		w.Fatal(err)
	}
}

// A volume is staged for the first pod and taken back from the node after the
// last.
func TestLife(t *testing.T) {
	w := newWorld(t, newDriver())
	pv := newPV("v1")
	vol := w.mustPublish(Request{Pod: newPod("a"), PV: pv})
	w.wantCalls("stage v1", "publish v1")
	if want := filepath.Join(w.o.RootDir, "pods/a/volumes/kubernetes.io~csi/pv-v1/mount"); vol.Path != want || w.driver.publish.TargetPath != want {
		t.Errorf("path %s, target %s, want %s", vol.Path, w.driver.publish.TargetPath, want)
	}
	staging := w.driver.stage.StagingTargetPath
	if staging != w.driver.publish.StagingTargetPath || !strings.HasPrefix(staging, w.pluginDir()+"/"+driverName+"/") || filepath.Base(staging) != "globalmount" {
		t.Errorf("staged at %s, published from %s", staging, w.driver.publish.StagingTargetPath)
	}
	mount := w.driver.stage.VolumeCapability.GetMount()
	if mount.FsType != "ext4" || !slices.Equal(mount.MountFlags, []string{"noatime"}) || w.driver.stage.VolumeContext["a"] != "b" {
		t.Errorf("staged %v with %v", mount, w.driver.stage.VolumeContext)
	}
	w.mustPublish(Request{Pod: newPod("b"), PV: pv, ReadOnly: true})
	if !w.driver.publish.Readonly {
		t.Error("a claim that is read-only was published to be written")
	}
	w.driver.take()
	w.mustUnpublish("a")
	w.wantCalls("unpublish v1")
	w.mustUnpublish("b")
	w.wantCalls("unpublish v1", "unstage v1")
	w.mustUnpublish("b") // there is nothing left
	w.wantCalls()
	if left := tree(t, w.o.RootDir); left != "[]" {
		t.Errorf("left %s", left)
	}
}

// What an earlier process has published is taken back, from what is on disk.
func TestRestart(t *testing.T) {
	w := newWorld(t, newDriver())
	w.mustPublish(Request{Pod: newPod("a"), PV: newPV("v1")})
	w.mustPublish(Request{Pod: newPod("b"), PV: newPV("v2")})
	w.driver.take()
	again := w.start(w.o.RootDir)
	if want := []v1.UniqueVolumeName{"kubernetes.io/csi/" + driverName + "^v1", "kubernetes.io/csi/" + driverName + "^v2"}; !slices.Equal(again.InUse(), want) {
		t.Errorf("in use %v, want %v", again.InUse(), want)
	}
	if !again.Has("a") || again.Has("c") {
		t.Error("it does not know who has volumes")
	}
	if err := again.Unpublish(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	w.wantCalls("unpublish v1", "unstage v1")
	// A pod directory that went without us leaves what is staged.
	if err := os.RemoveAll(filepath.Join(w.o.RootDir, "pods/b")); err != nil {
		t.Fatal(err)
	}
	if err := again.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantCalls("unstage v2")
	again.leave("b")
	if len(again.InUse()) > 0 {
		t.Errorf("in use %v", again.InUse())
	}
}

// What the driver does not take back stays, and is taken back later.
func TestUnpublishFails(t *testing.T) {
	w := newWorld(t, newDriver())
	vol := w.mustPublish(Request{Pod: newPod("a"), PV: newPV("v1")})
	if err := os.WriteFile(filepath.Join(vol.Path, "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.driver.failing("unpublish", status.Error(codes.Internal, "busy"))
	if err := w.Unpublish(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(vol.Path, "data")); err != nil {
		t.Error(err)
	}
	// The driver says that it is done, and is not: what is there is no rubbish.
	w.driver.failing("unpublish", nil)
	if err := w.Unpublish(t.Context(), "a"); err == nil {
		t.Error("data was removed")
	}
	if _, err := os.Stat(filepath.Join(vol.Path, "data")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(vol.Path, "data")); err != nil {
		t.Fatal(err)
	}
	w.mustUnpublish("a")
	if left := tree(t, w.o.RootDir); left != "[]" {
		t.Errorf("left %s", left)
	}
}

// A record that cannot be read is in the way of its own pod alone.
func TestBrokenRecord(t *testing.T) {
	w := newWorld(t, newDriver())
	w.mustPublish(Request{Pod: newPod("a"), PV: newPV("v1")})
	w.mustPublish(Request{Pod: newPod("b"), PV: newPV("v2")})
	for _, dir := range []string{w.publishDir("a", "pv-v1"), w.stageDir(driverName, "v1")} {
		if err := os.WriteFile(filepath.Join(dir, dataFile), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.driver.take()
	w.mustUnpublish("b")
	w.wantCalls("unpublish v2", "unstage v2")
	if err := w.Unpublish(t.Context(), "a"); err == nil {
		t.Error("a volume that nobody can name was taken back")
	}
	if !w.Has("a") {
		t.Error("the pod has no volumes any more")
	}
}

func TestFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		method string
		err    error
		left   bool // the driver may still be at it
	}{
		"stage fails for good":        {"stage", status.Error(codes.InvalidArgument, "no such volume"), false},
		"stage may go on":             {"stage", status.Error(codes.DeadlineExceeded, "slow"), true},
		"publish fails for good":      {"publish", status.Error(codes.Internal, "no"), false},
		"publish may still be at it":  {"publish", status.Error(codes.Aborted, "pending"), true},
		"publish does not know of it": {"publish", status.Error(codes.Unavailable, "gone"), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newDriver())
			w.driver.failing(tc.method, tc.err)
			if _, err := w.Publish(t.Context(), Request{Pod: newPod("a"), PV: newPV("v1")}); err == nil {
				t.Fatal("no error")
			}
			record := filepath.Join(w.publishDir("a", "pv-v1"), dataFile)
			if tc.method == "stage" {
				record = filepath.Join(w.stageDir(driverName, "v1"), dataFile)
			}
			if _, err := os.Stat(record); (err == nil) != tc.left {
				t.Errorf("record: %v, want it: %v", err, tc.left)
			}
			w.driver.failing(tc.method, nil)
			w.mustPublish(Request{Pod: newPod("a"), PV: newPV("v1")})
			w.mustUnpublish("a")
			if left := tree(t, w.o.RootDir); left != "[]" {
				t.Errorf("left %s", left)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	other := newPV("v1")
	other.Spec.CSI.Driver = "other.example.com"
	outside := newPV("v1")
	outside.Spec.CSI.Driver = ".."
	for name, tc := range map[string]struct {
		request Request
		want    string
	}{
		"unknown driver": {Request{PV: other}, "timed out waiting"},
		"no name":        {Request{PV: outside}, `".." is no name of a driver`},
		"inline volumes of a driver that has none": {
			Request{Inline: &v1.CSIVolumeSource{Driver: driverName}, Name: "v"},
			`volume mode "Ephemeral" not supported by driver csi.example.com (only supports ["Persistent"])`,
		},
		"inline volumes of a driver nobody knows": {
			Request{Inline: &v1.CSIVolumeSource{Driver: "other.example.com"}, Name: "v"},
			`volume mode "Ephemeral" not supported by driver other.example.com (no CSIDriver object)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newDriver())
			tc.request.Pod = newPod("a")
			ctx := t.Context()
			if tc.want == "timed out waiting" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, metav1.Now().Time)
				defer cancel()
			}
			if _, err := w.Publish(ctx, tc.request); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
			w.wantCalls()
		})
	}
}

func TestDriverThatIsNotThere(t *testing.T) {
	w := newWorld(t, newDriver())
	w.Deregister(t.Context(), w.plugin())
	_, err := w.Publish(t.Context(), Request{Pod: newPod("a"), PV: newPV("v1")})
	if err == nil || !strings.Contains(err.Error(), "driver name csi.example.com not found in the list of registered CSI drivers") {
		t.Errorf("error %v", err)
	}
}

func TestInline(t *testing.T) {
	w := newWorld(t, newDriver(func(s *storagev1.CSIDriverSpec) {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecycleEphemeral}
		s.PodInfoOnMount = new(true)
	}), &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Data: map[string][]byte{"key": []byte("value")}})
	r := Request{Pod: newPod("a"), Name: "v", Inline: &v1.CSIVolumeSource{
		Driver: driverName, ReadOnly: new(true), VolumeAttributes: map[string]string{"a": "b"}, NodePublishSecretRef: &v1.LocalObjectReference{Name: "s"},
	}}
	vol := w.mustPublish(r)
	handle := inlineHandle("a", "v")
	w.wantCalls("publish " + handle)
	got := w.driver.publish
	if !vol.ReadOnly || !got.Readonly || got.Secrets["key"] != "value" || got.StagingTargetPath != "" {
		t.Errorf("published %v", got)
	}
	for key, want := range map[string]string{
		"a": "b", "csi.storage.k8s.io/pod.name": "pod-a", "csi.storage.k8s.io/pod.namespace": "ns", "csi.storage.k8s.io/pod.uid": "a",
		"csi.storage.k8s.io/serviceAccount.name": "sa", "csi.storage.k8s.io/ephemeral": "true",
	} {
		if got.VolumeContext[key] != want {
			t.Errorf("%s is %q, want %q", key, got.VolumeContext[key], want)
		}
	}
	w.mustUnpublish("a")
	w.wantCalls("unpublish " + handle)
	if len(w.using()) > 0 {
		t.Errorf("in use %v", w.using())
	}
}

func TestBlock(t *testing.T) {
	w := newWorld(t, newDriver())
	vol := w.mustPublish(Request{Pod: newPod("a"), PV: newPV("v1"), Block: true})
	w.wantCalls("stage v1", "publish v1")
	if w.driver.stage.VolumeCapability.GetBlock() == nil || w.driver.stage.StagingTargetPath != filepath.Join(w.pluginDir(), "volumeDevices/staging/pv-v1") {
		t.Errorf("staged %v", w.driver.stage)
	}
	to, err := os.Readlink(vol.Device)
	if err != nil || to != filepath.Join(w.pluginDir(), "volumeDevices/publish/pv-v1/a") || vol.Path != "" {
		t.Errorf("got %v, which leads to %s: %v", vol, to, err)
	}
	if err := w.start(w.o.RootDir).Unpublish(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	w.wantCalls("unpublish v1", "unstage v1")
	if left := tree(t, w.o.RootDir); left != "[]" {
		t.Errorf("left %s", left)
	}
}

func TestAttach(t *testing.T) {
	w := newWorld(t, newDriver(func(s *storagev1.CSIDriverSpec) { s.AttachRequired = new(true) }))
	unique := v1.UniqueVolumeName("kubernetes.io/csi/" + driverName + "^v1")
	done := make(chan error, 1)
	go func() {
		_, err := w.Publish(t.Context(), Request{Pod: newPod("a"), PV: newPV("v1")})
		done <- err
	}()
	w.setNode(func(n *v1.Node) { n.Status.VolumesInUse = []v1.UniqueVolumeName{unique} })
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	w.wantCalls()
	name := attachmentName("v1", driverName, "n1")
	if _, err := w.api.StorageV1().VolumeAttachments().Create(t.Context(), &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     storagev1.VolumeAttachmentStatus{Attached: true, AttachmentMetadata: map[string]string{"dev": "x"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.setNode(func(n *v1.Node) { n.Status.VolumesAttached = []v1.AttachedVolume{{Name: unique}} })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.wantCalls("stage v1", "publish v1")
	if w.driver.stage.PublishContext["dev"] != "x" || w.driver.publish.PublishContext["dev"] != "x" {
		t.Error("the driver does not know of the attachment")
	}
	if !slices.Equal(w.using(), []v1.UniqueVolumeName{unique}) {
		t.Errorf("in use %v", w.using())
	}
	w.mustUnpublish("a")
	if len(w.using()) > 0 {
		t.Errorf("in use %v", w.using())
	}
}

func TestAttachIsGivenUp(t *testing.T) {
	w := newWorld(t) // without an object of the driver volumes must be attached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Publish(ctx, Request{Pod: newPod("a"), PV: newPV("v1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(w.using()) != 1 {
		t.Errorf("in use %v", w.using())
	}
	w.mustUnpublish("a")
	if len(w.using()) != 0 {
		t.Errorf("in use %v", w.using())
	}
}

// A volume whose staging goes on, or that another pod is to have, stays staged:
// upstream's "CSI NodeStage error cases" count on it.
func TestStagedWhileWanted(t *testing.T) {
	w := newWorld(t, newDriver())
	w.driver.failing("stage", status.Error(codes.DeadlineExceeded, "slow"))
	for _, uid := range []string{"a", "b"} {
		if _, err := w.Publish(t.Context(), Request{Pod: newPod(uid), PV: newPV("v1")}); err == nil {
			t.Fatal("no error")
		}
	}
	w.driver.take()
	reap := func() {
		t.Helper()
		if err := w.Reap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reap()
	w.mustUnpublish("a")
	reap()
	w.wantCalls()
	w.mustUnpublish("b")
	reap()
	w.wantCalls("unstage v1")
	if left := tree(t, w.o.RootDir); left != "[]" {
		t.Errorf("left %s", left)
	}
}
