package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// A world is a Keeper against an API that gives UIDs and counts versions.
type world struct {
	*testing.T
	api *fake.Clientset
	k   *Keeper

	mu      sync.Mutex
	version int
	fail    error    // of every request
	writes  []string // verb and what it was about
	nodes   []string // UIDs told to OnNode, "" for nil
	cidrs   [][]string
}

func newWorld(t *testing.T, existing ...runtime.Object) *world {
	w := &world{T: t, api: fake.NewClientset(existing...), version: 100}
	w.api.PrependReactor("*", "*", w.react)
	k, err := New(Options{
		Name: "n1", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, Port: 10250, Version: "v1.37.2",
		Labels: map[string]string{"mine": "yes"}, Taints: []v1.Taint{{Key: "t", Effect: v1.TaintEffectNoSchedule}},
		MaxPods: 110, StatusEvery: 10 * time.Second, ReportEvery: 5 * time.Minute, LeaseFor: 40 * time.Second,
		Machine: testMachine(t), Log: slog.New(slog.DiscardHandler),
		OnNode: func(n *v1.Node) {
			w.mu.Lock()
			defer w.mu.Unlock()
			uid := ""
			if n != nil {
				uid = string(n.UID)
			}
			if len(w.nodes) == 0 || w.nodes[len(w.nodes)-1] != uid {
				w.nodes = append(w.nodes, uid)
			}
		},
		OnPodCIDRs: func(c []string) { w.cidrs = append(w.cidrs, c) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.k = k
	return w
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.k.Run(ctx, w.api)
	}()
	w.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// react makes the tracker behave: UIDs and versions, and failures on demand.
func (w *world) react(a k8stesting.Action) (bool, runtime.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return true, nil, w.fail
	}
	if a.GetVerb() == "get" || a.GetVerb() == "list" || a.GetVerb() == "watch" {
		return false, nil, nil
	}
	w.version++
	w.writes = append(w.writes, strings.TrimSuffix(a.GetVerb()+" "+a.GetResource().Resource+"/"+a.GetSubresource(), "/"))
	var obj runtime.Object
	switch a := a.(type) {
	case k8stesting.CreateActionImpl:
		obj = a.Object
	case k8stesting.UpdateActionImpl:
		obj = a.Object
	case k8stesting.PatchActionImpl:
		obj, err := w.patch(a)
		return true, obj, err
	default:
		return false, nil, nil
	}
	if m, ok := obj.(metav1.Object); ok {
		if m.GetUID() == "" {
			m.SetUID(types.UID(fmt.Sprintf("uid-%d", w.version)))
		}
		m.SetResourceVersion(fmt.Sprint(w.version))
	}
	return false, nil, nil
}

// patch has the tracker patch an object, which gets a version of its own.
func (w *world) patch(a k8stesting.PatchActionImpl) (runtime.Object, error) {
	_, obj, err := k8stesting.ObjectReaction(w.api.Tracker())(a)
	if err != nil {
		return nil, err
	}
	if m, ok := obj.(metav1.Object); ok {
		m.SetResourceVersion(fmt.Sprint(w.version))
	}
	return obj, w.api.Tracker().Update(a.GetResource(), obj, a.GetNamespace())
}

// took returns the writes since the last call, once all is quiet.
func (w *world) took() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := strings.Join(w.writes, ", ")
	w.writes = nil
	return all
}

func (w *world) want(what, writes string) {
	w.Helper()
	if got := w.took(); got != writes {
		w.Errorf("%s: %q, want %q", what, got, writes)
	}
}

func (w *world) node() *v1.Node {
	w.Helper()
	n, err := w.api.CoreV1().Nodes().Get(w.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) condition() string {
	w.Helper()
	c := condition(w.node().Status.Conditions, v1.NodeReady)
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

func (w *world) set(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// testMachine is a machine of files.
func testMachine(t *testing.T) Machine {
	root := t.TempDir()
	for path, content := range map[string]string{
		"sys/devices/system/cpu/online": "0-2,6\n",
		"proc/meminfo":                  "MemTotal:  2097152 kB\nMemFree: 1 kB\nSwapTotal: 1024 kB\nHugePages_Total: 3\n",
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":    "4\n",
		"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
		"etc/machine-id":                 "abc\n",
		"proc/self/uid_map":              "0 0 4294967295\n",
		"sys/class/dmi/id/product_uuid":  "ABC-DEF\n",
		"proc/sys/kernel/random/boot_id": "boot\n",
		"proc/sys/kernel/osrelease":      "6.1.0\n",
		"etc/os-release":                 "NAME=x\nPRETTY_NAME=\"Some Linux 12\"\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Machine{Root: root, Dir: root}
}

// What a Keeper hears of, others may have as well.
func TestWhatIsHeardIsLeftAsItIs(t *testing.T) {
	k := newWorld(t).k
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}}
	k.seen(n)
	if len(n.ManagedFields) == 0 || len(k.Node().ManagedFields) > 0 {
		t.Errorf("heard of %v, kept %v", n.ManagedFields, k.Node().ManagedFields)
	}
}
