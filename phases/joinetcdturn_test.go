package phases

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const leasePath = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/" + turnName

func (w *world) holder() string {
	w.t.Helper()
	var lease coordinationv1.Lease
	w.object(leasePath, &lease)
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// held is a lease that somebody has for some seconds, by its own account.
func held(holder string, seconds int32) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: turnName},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds},
	}
}

func TestTurnsAreTakenOneAtATime(t *testing.T) {
	w := running(t, "")
	api := w.api()
	var at atomic.Int32
	errs := make(chan error)
	for _, holder := range []string{"cp2", "cp3", "cp4"} {
		go func() {
			errs <- turn{api, holder}.hold(t.Context(), func(context.Context) error {
				defer at.Add(-1)
				if n := at.Add(1); n != 1 {
					t.Errorf("%d at once", n)
				}
				if got := w.holder(); got != holder {
					t.Errorf("%s has the turn of %s", got, holder)
				}
				return nil
			})
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := w.holder(); got != "" {
		t.Errorf("%s still has the turn", got)
	}
}

func TestTheTurnOfADeadNodeIsTaken(t *testing.T) {
	w := running(t, "")
	w.put(held("cp2", 1))
	var said []string
	ctx := withSay(t.Context(), func(e Event) { said = append(said, e.Text) })
	begin := time.Now()
	if err := (turn{w.api(), "cp3"}).hold(ctx, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < time.Second {
		t.Errorf("it was given %s", took)
	}
	if len(said) != 1 || !strings.Contains(said[0], "cp2") {
		t.Errorf("said %q", said)
	}
}

func TestANodeGoesOnWithItsOwnTurn(t *testing.T) {
	w := running(t, "")
	w.put(held("cp2", 3600))
	want := errors.New("what became of it")
	if err := (turn{w.api(), "cp2"}).hold(t.Context(), func(context.Context) error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
}

func TestWaitingForATurnEnds(t *testing.T) {
	w := running(t, "")
	w.put(held("cp2", 3600))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx = withSay(ctx, func(Event) { cancel() }) // it says for whom it waits
	err := turn{w.api(), "cp3"}.hold(ctx, func(context.Context) error { t.Error("it was its turn"); return nil })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cp2 is joining") {
		t.Error(err)
	}
}

func TestATurnIsRefused(t *testing.T) {
	w := running(t, "")
	w.fail = func(*http.Request) *apierrors.StatusError { return apierrors.NewUnauthorized("no") }
	begin := time.Now()
	if err := (turn{w.api(), "cp3"}).hold(t.Context(), nil); !apierrors.IsUnauthorized(err) {
		t.Error(err)
	}
	if took := time.Since(begin); took > turnWait/10 {
		t.Errorf("took %s for what is clear at once", took)
	}
}
