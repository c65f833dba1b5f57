package kubelet

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/pod"
	"boot.internal/timeline"
)

// A diary keeps when each thing came up that belongs to a pod, once, and what it
// needed; what failed goes on until it goes well.
func TestDiary(t *testing.T) {
	dir := t.TempDir()
	w := timeline.NewWriter(timeline.Options{Dir: dir, By: timeline.LoopName, Log: slog.New(slog.DiscardHandler)})
	d := newDiary(Options{
		Node: "n1", Kubeconfig: "kubelet.conf", SandboxImage: "pause:1", Timeline: w,
		Config: &kubeletv1beta1.KubeletConfiguration{StaticPodPath: "/manifests"},
	})
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "kube-system", Name: "etcd-n1", UID: "u", Annotations: map[string]string{pod.ConfigSource: pod.SourceFile},
	}}
	p.Spec.HostNetwork = true
	p.Spec.Containers = []v1.Container{{Name: "etcd", Image: "registry.k8s.io/etcd:3"}}
	ready := v1.PodStatus{
		Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}},
		ContainerStatuses: []v1.ContainerStatus{{
			Name: "etcd", ContainerID: "c", Ready: true,
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{}},
		}},
	}
	start := pod.StartContainer{Name: "etcd"}
	mirror := p.DeepCopy()
	mirror.Annotations = nil
	node := &v1.Node{Spec: v1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24"}}}

	d.loopBegins()
	d.engineUp(time.Now())
	d.desired([]*v1.Pod{p})
	d.desired([]*v1.Pod{p})
	d.acting(p, pod.CreateSandbox{})(nil)
	d.acting(p, start)(errors.New("no image"))
	ended := d.acting(p, start)
	for _, reason := range []string{"Pulled", "Pulled", "BackOff", "Created", "Started"} {
		d.heard(p, "etcd", reason)
	}
	ended(nil)
	d.said(p, v1.PodStatus{}, ready)
	d.said(p, ready, ready)
	d.reaching()()
	d.nodeIs(nil)
	d.nodeIs(node)
	node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}
	d.networkUp()
	d.nodeIs(node)
	d.mirrored(mirror)
	d.mirrored(mirror)
	w.Close()
	d.mirrored(mirror) // nobody wants to know any more
	d.acting(p, start)(nil)

	want := []string{
		"loop ← ",
		"answer ← loop engine",
		"wanted:kube-system/etcd ← answer change:write /manifests/etcd.yaml",
		"sandbox:kube-system/etcd ← wanted:kube-system/etcd import:docker.io/library/pause:1",
		"image:kube-system/etcd/etcd ← sandbox:kube-system/etcd import:registry.k8s.io/etcd:3",
		"create:kube-system/etcd/etcd ← image:kube-system/etcd/etcd",
		"start:kube-system/etcd/etcd ← create:kube-system/etcd/etcd",
		"ready:kube-system/etcd/etcd ← start:kube-system/etcd/etcd wanted:kube-system/etcd",
		"up:kube-system/etcd ← ready:kube-system/etcd/etcd",
		"api ← loop",
		"node ← api",
		"cidr ← node",
		"network ← cidr answer",
		"nodeup ← node network",
		"mirror:kube-system/etcd ← api node wanted:kube-system/etcd",
	}
	records, err := timeline.ReadFile(timeline.Newest(dir))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records {
		if r.End.IsZero() || r.Err != "" {
			t.Errorf("%s: %+v", r.Key(), r)
		}
		got = append(got, r.Key()+" ← "+strings.Join(r.Needs, " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A pod of the API belongs to the cluster only if it is critical; its network is
// waited for, and its containers for each other.
func TestDiaryOfOthers(t *testing.T) {
	dir := t.TempDir()
	w := timeline.NewWriter(timeline.Options{Dir: dir, By: timeline.LoopName, Log: slog.New(slog.DiscardHandler)})
	d := newDiary(Options{Node: "n1", SandboxImage: "pause:1", Timeline: w, Config: &kubeletv1beta1.KubeletConfiguration{}})
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u"}}
	p.Spec.Containers = []v1.Container{{Name: "a", Image: "a"}, {Name: "b", Image: "b"}}
	d.desired([]*v1.Pod{p})
	d.acting(p, pod.CreateSandbox{})(nil)
	for _, name := range []string{"a", "b"} {
		ended := d.acting(p, pod.StartContainer{Name: name})
		for _, reason := range []string{"Pulled", "Created", "Started"} {
			d.heard(p, name, reason)
		}
		ended(nil)
	}
	w.Close()
	needs := map[string]string{}
	records, err := timeline.ReadFile(timeline.Newest(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Goal {
			t.Errorf("%s is a goal", r.Key())
		}
		needs[r.Key()] = strings.Join(r.Needs, " ")
	}
	for key, want := range map[string]string{
		"wanted:shop/web":  "answer api",
		"sandbox:shop/web": "wanted:shop/web import:docker.io/library/pause:1 network",
		"image:shop/web/a": "sandbox:shop/web import:docker.io/library/a:latest",
		"image:shop/web/b": "sandbox:shop/web import:docker.io/library/b:latest start:shop/web/a",
	} {
		if needs[key] != want {
			t.Errorf("%s needs %q, want %q", key, needs[key], want)
		}
	}
}
