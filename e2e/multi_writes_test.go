package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/e2e/internal/lab"
)

// writeTimeout is how long a write may take before its writer goes on to the next
// one. Whether it was done is unknown then.
const writeTimeout = 3 * time.Second

// calmTimeout is how long the API may take to answer where that is not what is
// looked at: longer than it may be away when a control plane is lost.
const calmTimeout = soon

// reach has the clients of the fleet reach the API as the kubelet of a node does.
func (f *fleet) reach(t testing.TB, n *lab.Node) {
	t.Helper()
	f.client, f.hasty = f.through(t, n, "", calmTimeout), f.through(t, n, "", writeTimeout)
}

// through returns a client with the rights of the administrator that reaches the
// API as the kubelet of a node does, or at a server that is given.
func (f *fleet) through(t testing.TB, n *lab.Node, server string, timeout time.Duration) *kubernetes.Clientset {
	t.Helper()
	admin, err := clientcmd.Load([]byte(f.heads[0].ReadFile(t, adminConf)))
	lab.Must(t, err)
	kubelet, err := clientcmd.Load([]byte(n.ReadFile(t, "/etc/kubernetes/kubelet.conf")))
	lab.Must(t, err)
	way := kubelet.Clusters[kubelet.Contexts[kubelet.CurrentContext].Cluster]
	for _, c := range admin.Clusters {
		c.Server, c.TLSServerName = way.Server, way.TLSServerName
		if server != "" {
			c.Server, c.TLSServerName = server, ""
		}
	}
	config, err := clientcmd.NewDefaultClientConfig(*admin, nil).ClientConfig()
	lab.Must(t, err)
	config.Dial, config.QPS, config.Timeout = n.Dial, -1, timeout
	client, err := kubernetes.NewForConfig(config)
	lab.Must(t, err)
	return client
}

// own returns a client of the API server of a control plane, and of no other.
func (f *fleet) own(t testing.TB, head *lab.Node, timeout time.Duration) *kubernetes.Clientset {
	t.Helper()
	return f.through(t, head, "https://"+head.IP.String()+":6443", timeout)
}

// A writer makes ConfigMaps, one after the other, and remembers for which of them
// the API said that it has them.
type writer struct {
	client    kubernetes.Interface
	namespace string
	stop      context.CancelFunc
	ended     chan struct{}

	mu    sync.Mutex
	acked []string
	at    time.Time     // of the last one
	gap   time.Duration // the longest without any
	last  error         // that a write failed with
}

// write starts a writer, which ends with the test.
func write(t *testing.T, client kubernetes.Interface, namespace string) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{client: client, namespace: namespace, stop: cancel, ended: make(chan struct{}), at: time.Now()}
	go w.run(ctx)
	t.Cleanup(w.end)
	return w
}

// end stops the writer.
func (w *writer) end() {
	w.stop()
	<-w.ended
}

func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	begin := time.Now().UnixNano() // names of another writer are others
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("w-%d-%d", begin, i)
		_, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		w.note(name, err)
		<-pace.C
	}
}

func (w *writer) note(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.last = err
		return
	}
	w.acked = append(w.acked, name)
	w.gap = max(w.gap, time.Since(w.at))
	w.at = time.Now()
}

// awaitMore waits until that many more are there, and returns the longest time
// without any since it was asked last.
func (w *writer) awaitMore(t *testing.T, n int) (gap time.Duration) {
	t.Helper()
	w.mu.Lock()
	have := len(w.acked)
	w.mu.Unlock()
	lab.Until(t, patience, "see writes go on", func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.acked) < have+n {
			return fmt.Errorf("%d of %d: %w", len(w.acked)-have, n, w.last)
		}
		gap, w.gap = w.gap, 0
		return nil
	})
	return gap
}

// awaitAgain waits until writes go on after something was lost, and fails the test if
// that takes too long. A machine on which they had to wait before is a busy one: calm
// is how long that was.
func (w *writer) awaitAgain(t *testing.T, calm time.Duration, what string) {
	t.Helper()
	gap := max(w.awaitMore(t, 1), w.awaitMore(t, 20))
	t.Logf("%s the API answered again after %s, and after %s before", what, gap, calm)
	if gap > soon+10*calm {
		t.Errorf("%s the API did not answer for %s", what, gap)
	}
}

// check looks for everything that was acknowledged.
func (w *writer) check(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var list *corev1.ConfigMapList
	lab.Until(t, patience, "list what was written", func(ctx context.Context) (err error) {
		list, err = client.CoreV1().ConfigMaps(w.namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	there := map[string]bool{}
	for _, c := range list.Items {
		there[c.Name] = true
	}
	for _, name := range w.acked {
		if !there[name] {
			t.Errorf("%s was acknowledged and is lost, of %d", name, len(w.acked))
		}
	}
}

// refuses fails the test if an API server takes a write.
func refuses(t *testing.T, client kubernetes.Interface, namespace string) {
	t.Helper()
	_, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "refused"}}, metav1.CreateOptions{})
	if err == nil || apierrors.IsAlreadyExists(err) {
		t.Error("the smaller side of the network takes writes")
	}
	var status apierrors.APIStatus
	t.Logf("the smaller side says (an answer: %v): %v", errors.As(err, &status), err)
}
