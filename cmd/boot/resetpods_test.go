package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/image"
	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/fake"
	"boot.internal/kubelet/spec"
)

// A host is what pods run on in a test.
type host struct {
	t       *testing.T
	cri     cri.RuntimeServiceClient
	runtime *runtime.Runtime
}

func newHost(t *testing.T, client cri.RuntimeServiceClient, images cri.ImageServiceClient, dir string, cgroups runtime.Cgroups) *host {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	event := func(*v1.Pod, string, string, string, string) {}
	return &host{t, client, runtime.New(runtime.Options{
		CRI: client, Images: image.New(image.Options{CRI: images, Event: event, Log: log}), Cgroups: cgroups,
		Node: func() spec.Node {
			return spec.Node{Name: "node", IPs: []string{"192.0.2.1"}, ClusterDomain: "cluster.local"}
		},
		PodsDir: filepath.Join(dir, "lib/kubelet/pods"), PodLogsDir: filepath.Join(dir, "log/pods"),
		ContainerLogsDir: filepath.Join(dir, "log/containers"),
		KillMessage:      plan.Message, Event: event, Log: log,
	})}
}

func testPod(name, uid string, grace int64) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uid)},
		Spec: v1.PodSpec{
			TerminationGracePeriodSeconds: &grace, DNSPolicy: v1.DNSDefault,
			Containers: []v1.Container{{
				Name: "main", Image: "boot.internal/testbox:1", Args: []string{"sleep", "infinity"},
				TerminationMessagePath: v1.TerminationMessagePathDefault, ImagePullPolicy: v1.PullNever,
				Lifecycle: &v1.Lifecycle{StopSignal: new(v1.SIGWINCH)}, // which does nothing to it
			}},
		},
	}
}

// run runs a pod as the loop does.
func (h *host) run(p *v1.Pod) {
	h.t.Helper()
	if err := h.runtime.Do(h.t.Context(), p, pod.CreateSandbox{}); err != nil {
		h.t.Fatal(err)
	}
	have, err := h.runtime.Observe(h.t.Context(), pod.KeyOf(p))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.runtime.Do(h.t.Context(), p, pod.StartContainer{Name: "main", Sandbox: have.Sandboxes[0]}); err != nil {
		h.t.Fatal(err)
	}
}

// foreign runs a pod as another agent does.
func (h *host) foreign(name, uid string, containers bool) {
	h.t.Helper()
	labels := map[string]string{pod.LabelPodNamespace: "default", pod.LabelPodName: name, pod.LabelPodUID: uid}
	config := &cri.PodSandboxConfig{Metadata: &cri.PodSandboxMetadata{Name: name, Namespace: "default", Uid: uid}, Labels: labels}
	made, err := h.cri.RunPodSandbox(h.t.Context(), &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		h.t.Fatal(err)
	}
	if !containers {
		return
	}
	_, err = h.cri.CreateContainer(h.t.Context(), &cri.CreateContainerRequest{
		PodSandboxId: made.PodSandboxId, SandboxConfig: config,
		Config: &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: "main"}, Image: &cri.ImageSpec{Image: "test:1"}, Labels: labels},
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestPodsThatTakeTheirTimeAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New()
		f.SetImages("boot.internal/testbox:1")
		h := newHost(t, f.Runtime(), f.Images(), t.TempDir(), nil)
		f.Script("main", fake.Program{IgnoreTerm: true})
		p := testPod("slow", "1", 3600)
		h.run(p)
		begin := time.Now()
		if err := removePod(t.Context(), h.runtime, pod.KeyOf(p)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != maxGrace {
			t.Errorf("took %s, want %s", took, maxGrace)
		}
		if left, err := h.runtime.Keys(t.Context()); len(left) > 0 || err != nil {
			t.Errorf("left %v, %v", left, err)
		}
	})
}

func TestPodsThatCannotBeRemoved(t *testing.T) {
	f := fake.New()
	h := newHost(t, f.Runtime(), f.Images(), t.TempDir(), nil)
	h.foreign("stuck", "1", false)
	f.Fail("StopPodSandbox", 1, fmt.Errorf("no network plugin"))
	err := removePod(t.Context(), h.runtime, pod.Key{Namespace: "default", Name: "stuck"})
	if err == nil || !strings.Contains(err.Error(), "no network plugin") {
		t.Errorf("error %v", err)
	}
}

func TestPodsOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	f := fake.New()
	f.SetImages("boot.internal/testbox:1", "test:1")
	h := newHost(t, f.Runtime(), f.Images(), dir, nil)
	h.run(testPod("ours", "1", 1))
	h.foreign("theirs", "2", true)
	h.foreign("ours-begun", "3", false)
	h.foreign("theirs-begun", "4", false)
	pods := filepath.Join(dir, "lib/kubelet/pods")
	for _, uid := range []string{"2", "3"} { // an earlier kubelet has used it, too
		if err := os.MkdirAll(filepath.Join(pods, uid), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := h.runtime.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []bool{true, false} {
		ours, err := podsLeft{own: own, dir: pods}.ours(t.Context(), h.cri)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for key, sum := range keys {
			if ours(key, sum) {
				got = append(got, key.Name)
			}
		}
		slices.Sort(got)
		want := []string{"ours", "ours-begun"}
		if own {
			want = []string{"ours", "ours-begun", "theirs", "theirs-begun"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("own %v: %s", own, diff)
		}
	}
}

func TestPodCgroupNames(t *testing.T) {
	for root, want := range map[string][]string{
		"":        {"/kubepods", "/kubepods.slice"},
		"/":       {"/kubepods", "/kubepods.slice"},
		"/a-b/c/": {"/a-b/c/kubepods", "/a_b.slice/a_b-c.slice/a_b-c-kubepods.slice"},
	} {
		var got []string
		for _, g := range podCgroups(root, nil) {
			got = append(got, g.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", root, diff)
		}
	}
}
