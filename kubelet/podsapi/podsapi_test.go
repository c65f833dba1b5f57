package podsapi_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	api "k8s.io/kubelet/pkg/apis/pods/v1alpha1"

	"boot.internal/kubelet/podsapi"
)

// A node has pods that tests change, and a server of them.
type node struct {
	*podsapi.Server
	api.PodsClient
	t *testing.T

	mu    sync.Mutex
	pods  []podsapi.Pod
	known bool
}

func newNode(t *testing.T) *node {
	n := &node{t: t, known: true}
	n.Server = podsapi.New(func() ([]podsapi.Pod, bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return slices.Clone(n.pods), n.known
	})
	path := filepath.Join(t.TempDir(), "pods-api", "pods-api.sock")
	ctx, cancel := context.WithCancel(context.Background())
	var life sync.WaitGroup
	life.Go(func() {
		if err := n.Run(ctx, path); err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		life.Wait()
		if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("directory of the socket: %v, %v", info, err)
		}
	})
	n.PodsClient = api.NewPodsClient(conn)
	return n
}

// set makes these the pods of the node.
func (n *node) set(known bool, pods ...podsapi.Pod) {
	n.mu.Lock()
	n.pods, n.known = pods, known
	n.mu.Unlock()
	n.Changed()
}

func (n *node) ctx() context.Context {
	ctx, cancel := context.WithTimeout(n.t.Context(), 30*time.Second)
	n.t.Cleanup(cancel)
	return ctx
}

// expect reads events, each as "MODIFIED a Running".
func (n *node) expect(w grpc.ServerStreamingClient[api.WatchPodsEvent], want ...string) {
	n.t.Helper()
	var got []string
	for range want {
		e, err := w.Recv()
		if err != nil {
			n.t.Fatalf("after %q: %v", got, err)
		}
		line := e.Type.String()
		if e.Pod != nil {
			p := n.decode(e.Pod)
			line = fmt.Sprintf("%s %s/%s %s", line, p.Namespace, p.Name, p.Status.Phase)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		n.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func (n *node) decode(text []byte) *v1.Pod {
	n.t.Helper()
	p := &v1.Pod{}
	if err := p.Unmarshal(text); err != nil {
		n.t.Fatal(err)
	}
	return p
}

func named(name string, phase v1.PodPhase) podsapi.Pod {
	p := podsapi.Pod{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1"}}}
	if phase != "" {
		p.Is = &v1.PodStatus{Phase: phase}
	}
	return p
}

func TestPodsAreListed(t *testing.T) { // KEP-4188
	n := newNode(t)
	n.set(false, named("a", v1.PodRunning))
	for what, ask := range map[string]func() error{
		"list": func() error { _, err := n.PodsClient.ListPods(n.ctx(), &api.ListPodsRequest{}); return err },
		"get":  func() error { _, err := n.PodsClient.GetPod(n.ctx(), &api.GetPodRequest{PodUID: "uid-a"}); return err },
		"watch": func() error {
			w, err := n.PodsClient.WatchPods(n.ctx(), &api.WatchPodsRequest{})
			return errors.Join(err, next(w))
		},
	} {
		if err := ask(); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s before all pods are known: %v", what, err)
		}
	}
	n.set(true, named("b", ""), named("a", v1.PodRunning))
	list, err := n.PodsClient.ListPods(n.ctx(), &api.ListPodsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, text := range list.Pods {
		p := n.decode(text)
		got = append(got, p.Name+" "+string(p.Status.Phase))
	}
	if diff := cmp.Diff([]string{"a Running", "b Pending"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	one, err := n.PodsClient.GetPod(n.ctx(), &api.GetPodRequest{PodUID: "uid-a"})
	if err != nil || n.decode(one.Pod).Name != "a" {
		t.Errorf("%v, %v", one, err)
	}
	if _, err := n.PodsClient.GetPod(n.ctx(), &api.GetPodRequest{PodUID: "uid-c"}); status.Code(err) != codes.NotFound {
		t.Errorf("a pod that is not there: %v", err)
	}
}

func next(w grpc.ServerStreamingClient[api.WatchPodsEvent]) error {
	_, err := w.Recv()
	return err
}

func TestPodsAreWatched(t *testing.T) { // KEP-4188
	n := newNode(t)
	a := named("a", v1.PodRunning)
	n.set(true, named("b", v1.PodRunning), a)
	w, err := n.PodsClient.WatchPods(n.ctx(), &api.WatchPodsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	n.expect(w, "ADDED ns/a Running", "ADDED ns/b Running", "INITIAL_SYNC_COMPLETE")

	n.set(true, a, named("b", v1.PodSucceeded))
	n.expect(w, "MODIFIED ns/b Succeeded")
	written := named("a", v1.PodRunning) // the node's own write
	written.ResourceVersion = "2"
	n.set(true, written, named("b", v1.PodSucceeded), named("c", ""))
	n.expect(w, "ADDED ns/c Pending")
	labelled := named("a", v1.PodRunning)
	labelled.Labels = map[string]string{"k": "v"}
	n.set(true, labelled, named("c", ""))
	n.expect(w, "DELETED ns/b ", "MODIFIED ns/a Running")
	specified := named("a", v1.PodRunning)
	specified.Labels, specified.Spec.Hostname = labelled.Labels, "h"
	n.set(true, specified, named("c", ""))
	n.expect(w, "MODIFIED ns/a Running")
	n.set(true)
	n.expect(w, "DELETED ns/a ", "DELETED ns/c ")
}

func TestRequestsAreCounted(t *testing.T) {
	n := newNode(t)
	for range 2 {
		if _, err := n.PodsClient.ListPods(n.ctx(), &api.ListPodsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = n.PodsClient.GetPod(n.ctx(), &api.GetPodRequest{PodUID: "none"}) // counted by its error
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(n.Metrics()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			words := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				words = append(words, l.GetValue())
			}
			got[strings.Join(words, " ")] = m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"kubelet_pod_requests_total v1alpha1 OK": 2, "kubelet_pod_requests_total v1alpha1 NotFound": 1,
		"kubelet_pod_requests_list_total v1alpha1 OK": 2, "kubelet_pod_requests_get_total v1alpha1 NotFound": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
