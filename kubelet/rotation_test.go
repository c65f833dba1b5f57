package kubelet

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"boot.internal/config"
	"boot.internal/kubelet/identity"
	"boot.internal/kubelet/local"
)

// A rotationWorld is a cluster with a rotator for a node.
type rotationWorld struct {
	*rotator
	t      *testing.T
	client *fake.Clientset

	mu        sync.Mutex // guards what follows
	converged []string
	asked     int
	events    []string
	err       error // of converging
	askErr    error
}

func newRotationWorld(t *testing.T) *rotationWorld {
	w := &rotationWorld{t: t}
	w.client = fake.NewClientset(
		&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
		&v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: config.RotationMap}, Data: map[string]string{"rotation": "what"}},
	)
	w.rotator = &rotator{name: "n1", rotation: w, ask: w.sign, event: w.heard, log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx, w.client.CoreV1()) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *rotationWorld) with(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *rotationWorld) Converge(_ context.Context, stage string, told map[string]string) (Converged, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.converged = append(w.converged, stage+" "+told["rotation"])
	c := Converged{}
	if strings.HasSuffix(stage, "/trust") {
		c.Recipient = []byte("public")
	}
	if strings.HasSuffix(stage, "/renew") {
		c.Sign = &identity.Authority{Certificate: &x509.Certificate{}}
	}
	return c, w.err
}

func (w *rotationWorld) sign(context.Context, identity.Authority) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return w.askErr
}

func (w *rotationWorld) heard(_, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, reason+": "+message)
}

// tell puts a stage on the Node, and has the watch see what there is.
func (w *rotationWorld) tell(stage string) {
	w.t.Helper()
	n := w.node()
	if stage != "" {
		n.Annotations = map[string]string{config.RotationWanted: stage, config.RotationDone: n.Annotations[config.RotationDone]}
		if _, err := w.client.CoreV1().Nodes().Update(w.t.Context(), n, metav1.UpdateOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.nodeIs(n)
	synctest.Wait()
}

func (w *rotationWorld) node() *v1.Node {
	w.t.Helper()
	n, err := w.client.CoreV1().Nodes().Get(w.t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *rotationWorld) expect(done, trouble string) {
	w.t.Helper()
	a := w.node().Annotations
	if a[config.RotationDone] != done || a[config.RotationTrouble] != trouble {
		w.t.Errorf("answers %q", a)
	}
}

func TestRotatorAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRotationWorld(t)
		w.tell("")
		w.tell("1/trust")
		w.expect("1/trust", "")
		if got, err := base64.StdEncoding.DecodeString(w.node().Annotations[config.RotationRecipient]); err != nil || string(got) != "public" {
			t.Errorf("key %q, %v", got, err)
		}
		w.nodeIs(&v1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{config.RotationWanted: "1/trust"}}}) // the watch is late
		synctest.Wait()
		w.tell("") // and then it is not
		if got, want := w.state(), (local.Rotation{Stage: "1/trust", Reached: true}); got == nil || *got != want {
			t.Errorf("tells commands %+v", got)
		}
		w.tell("1/renew")
		w.expect("1/renew", "")
		w.with(func() {
			if want := []string{"1/trust what", "1/renew what"}; !slices.Equal(w.converged, want) || w.asked != 1 {
				t.Errorf("converged %q, asked %d times", w.converged, w.asked)
			}
			if want := []string{"AuthorityRotation: Got to 1/trust", "AuthorityRotation: Got to 1/renew"}; !slices.Equal(w.events, want) {
				t.Errorf("events %q", w.events)
			}
		})
	})
}

// What fails is said, and tried again; a watch that only sees that does not make it
// sooner.
func TestRotatorTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRotationWorld(t)
		w.with(func() { w.err = errors.New("etcd is ill") })
		w.tell("1/drop")
		w.expect("", "1/drop: etcd is ill")
		w.tell("")
		if got, want := w.state(), (local.Rotation{Stage: "1/drop", Trouble: "1/drop: etcd is ill"}); got == nil || *got != want {
			t.Errorf("tells commands %+v", got)
		}
		w.with(func() {
			if len(w.converged) != 1 {
				t.Errorf("tried %d times at once", len(w.converged))
			}
			w.err = nil
		})
		time.Sleep(rotationAgain)
		synctest.Wait()
		w.expect("1/drop", "")
	})
}

// A node need not go on with what it is no longer told to.
func TestRotatorIsToldOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRotationWorld(t)
		w.with(func() { w.askErr = errors.New("the signer is away") })
		w.tell("1/renew")
		w.expect("", "1/renew: the signer is away")
		w.tell("1/drop")
		w.expect("1/drop", "")
	})
}

func TestRotatorOfNothing(t *testing.T) {
	var r *rotator
	r.nodeIs(&v1.Node{})
	if r.state() != nil {
		t.Error("it has a state")
	}
	r.run(context.Background(), nil)
}
