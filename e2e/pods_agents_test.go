package e2e

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	podsapi "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

// agentsTests are of what programs of the node ask the loop itself.
func agentsTests() []podTest {
	return []podTest{{"agents/pods", testPodsAPI}, {"agents/flags", testFlagz}}
}

// testFlagz asks the node with which flags it was started (KEP-4828).
func testFlagz(t *testing.T, c *podCluster) {
	page, err := c.Client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/"+c.Name+"/proxy/flagz").
		SetHeader("Accept", "text/plain").DoRaw(t.Context())
	if err != nil || !strings.Contains(string(page), "\nkubeconfig=/etc/kubernetes/kubelet.conf\n") {
		t.Errorf("%s, %v", page, err)
	}
}

// podsAPI returns a client of the node's pods.
func (c *podCluster) podsAPI(t *testing.T) podsapi.PodsClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///kubelet", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return c.Dial(ctx, "unix", "/var/lib/kubelet/pods-api/pods-api.sock")
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return podsapi.NewPodsClient(conn)
}

// A news is one event of a watch.
type news struct {
	what podsapi.EventType
	pod  *corev1.Pod
}

// next returns the next event that is of the name, or of no pod.
func next(t *testing.T, w grpc.ServerStreamingClient[podsapi.WatchPodsEvent], name string) news {
	t.Helper()
	for {
		e, err := w.Recv()
		if err != nil {
			t.Fatal(err)
		}
		p := &corev1.Pod{}
		if err := p.Unmarshal(e.Pod); err != nil {
			t.Fatal(err)
		}
		if e.Pod == nil || p.Name == name {
			return news{e.Type, p}
		}
	}
}

// testPodsAPI watches a pod from its first to its last moment (KEP-4188).
func testPodsAPI(t *testing.T, c *podCluster) {
	client := c.podsAPI(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	w, err := client.WatchPods(ctx, &podsapi.WatchPodsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	etcd := "etcd-" + c.Name
	if e := next(t, w, etcd); e.what != podsapi.EventType_ADDED || e.pod.Status.Phase != corev1.PodRunning {
		t.Errorf("a static pod: %s, %s", e.what, e.pod.Status.Phase)
	}
	for next(t, w, etcd).what != podsapi.EventType_INITIAL_SYNC_COMPLETE {
		continue
	}
	box := c.pinned("told")
	box.Spec.Containers[0].Args = []string{"http", ":8080"}
	box.Finalizers = []string{"e2e.boot.internal/watched"} // who is slow is told less of what was in between
	made := c.Create(t, box)
	first := next(t, w, made.Name)
	if first.what != podsapi.EventType_ADDED || first.pod.UID != made.UID {
		t.Fatalf("a new pod: %v", first)
	}
	readyNow := func(p *corev1.Pod) bool { return slices.ContainsFunc(p.Status.Conditions, isReady) }
	if !readyNow(first.pod) { // who is slow hears of it when it is
		awaitTold(t, w, made.Name, "Ready", readyNow)
	}
	one, err := client.GetPod(ctx, &podsapi.GetPodRequest{PodUID: string(made.UID)})
	if err != nil {
		t.Fatal(err)
	}
	if got := (&corev1.Pod{}); got.Unmarshal(one.Pod) != nil || got.Name != made.Name || got.Status.PodIP == "" {
		t.Errorf("the pod is news as %v", got)
	}
	if err := c.Client.CoreV1().Pods(c.Namespace).Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitTold(t, w, made.Name, "ending", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if _, err := c.Client.CoreV1().Pods(c.Namespace).Patch(ctx, made.Name, types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for e := next(t, w, made.Name); e.what != podsapi.EventType_DELETED; e = next(t, w, made.Name) {
		if e.what != podsapi.EventType_MODIFIED || e.pod.DeletionTimestamp == nil {
			t.Errorf("while it ends: %v", e)
		}
	}
	if _, err := client.GetPod(ctx, &podsapi.GetPodRequest{PodUID: string(made.UID)}); status.Code(err) != codes.NotFound {
		t.Errorf("a pod that is gone: %v", err)
	}
}

// awaitTold reads changes of a pod until one is as wanted.
func awaitTold(t *testing.T, w grpc.ServerStreamingClient[podsapi.WatchPodsEvent], name, what string, is func(*corev1.Pod) bool) {
	t.Helper()
	for e := next(t, w, name); !is(e.pod); e = next(t, w, name) {
		if e.what != podsapi.EventType_MODIFIED {
			t.Fatalf("before it is %s: %v", what, e)
		}
	}
}
