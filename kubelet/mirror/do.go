package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/pod"
)

// requestTimeout ends requests to an API server that does not answer.
const requestTimeout = 10 * time.Second

// errMoved says that the mirror is not the one that was looked at. The watch
// will tell what it is now (SP-52).
var errMoved = errors.New("the mirror has changed or is gone meanwhile")

// do puts one mirror right.
func (r *Reconciler) do(ctx context.Context, client corev1.PodsGetter, j job) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	api := client.Pods(j.key.Namespace)
	if j.remove != nil {
		if err := r.delete(ctx, api, j); err != nil {
			return err
		}
	}
	if j.create == nil {
		return nil
	}
	return r.create(ctx, api, j)
}

// delete removes the very mirror that was looked at, at once (SP-52, SP-56).
func (r *Reconciler) delete(ctx context.Context, api corev1.PodInterface, j job) error {
	err := api.Delete(ctx, j.key.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0),
		Preconditions:      metav1.NewUIDPreconditions(string(j.remove.UID)),
	})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return errors.Join(errMoved, r.verify(ctx, api, j.remove))
	case err != nil:
		return fmt.Errorf("delete mirror %s: %w", j.key, err)
	}
	r.buried(j.remove)
	r.o.Log.Info("deleted mirror", slog.String("pod", j.key.String()), slog.String("uid", string(j.remove.UID)))
	return nil
}

// verify forgets a mirror that is known here but not to the API. Of whatever still
// speaks of it, the answer is the newest.
func (r *Reconciler) verify(ctx context.Context, api corev1.PodInterface, m *v1.Pod) error {
	now, err := api.Get(ctx, m.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get mirror %s: %w", pod.KeyOf(m), err)
	}
	if err != nil || now.UID != m.UID {
		r.buried(m)
	}
	return nil
}

// create makes the mirror, or takes the one that is there already.
func (r *Reconciler) create(ctx context.Context, api corev1.PodInterface, j job) error {
	m, err := api.Create(ctx, j.create, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.adopt(ctx, api, j)
	case err != nil:
		return fmt.Errorf("create mirror %s: %w", j.key, err)
	}
	r.o.Log.Info("created mirror", slog.String("pod", j.key.String()), slog.String("uid", string(m.UID)))
	return r.answered(ctx, api, j, m)
}

// adopt looks at what already has the name (SP-59): the mirror itself, made
// before a restart of boot; an old mirror, which the next look replaces; or
// somebody else's pod.
func (r *Reconciler) adopt(ctx context.Context, api corev1.PodInterface, j job) error {
	m, err := api.Get(ctx, j.key.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get mirror %s: %w", j.key, err)
	}
	if !pod.IsMirror(m) || m.Spec.NodeName != r.o.Node {
		return fmt.Errorf("create mirror %s: a pod of this name that is no mirror of node %s is in the way", j.key, r.o.Node)
	}
	return r.answered(ctx, api, j, m)
}

// answered takes over a mirror as a request was answered, unless it is known to be
// gone already. If all mirrors were told of since the request was planned, nobody can
// say whether it was among them: so it is asked for.
func (r *Reconciler) answered(ctx context.Context, api corev1.PodInterface, j job, m *v1.Pod) error {
	for lists := j.lists; ; {
		r.mu.Lock()
		sure, alive := r.lists == lists, !r.dead[m.UID]
		if known := r.mirrors[j.key]; sure && alive && (known == nil || known.UID != m.UID) { // the watch knows better
			r.mirrors[j.key] = stripped(m)
		}
		lists = r.lists
		r.mu.Unlock()
		switch {
		case !alive:
			return errMoved
		case sure:
			r.changed(j.key)
			return nil
		}
		now, err := api.Get(ctx, j.key.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && now.UID != m.UID:
			return errMoved
		case err != nil:
			return fmt.Errorf("get mirror %s: %w", j.key, err)
		}
		m = now
	}
}

// seen takes over a mirror as the watch tells, unless it was deleted here.
func (r *Reconciler) seen(m *v1.Pod) {
	key := pod.KeyOf(m)
	r.mu.Lock()
	alive := !r.dead[m.UID]
	if alive {
		r.mirrors[key] = stripped(m)
	}
	r.mu.Unlock()
	if alive {
		r.changed(key)
	}
}

// stripped drops what nobody here looks at and takes half the memory.
func stripped(heard *v1.Pod) *v1.Pod {
	m := *heard // which is others' as well
	m.ManagedFields = nil
	return &m
}

// buried notes that the API has a mirror no more.
func (r *Reconciler) buried(m *v1.Pod) {
	r.mu.Lock()
	r.dead[m.UID] = true
	r.drop(m)
	r.mu.Unlock()
	r.changed(pod.KeyOf(m))
}

// drop forgets a mirror unless its key has another one by now.
func (r *Reconciler) drop(m *v1.Pod) {
	key := pod.KeyOf(m)
	if now := r.mirrors[key]; now != nil && now.UID == m.UID {
		delete(r.mirrors, key)
	}
}

func (r *Reconciler) changed(key pod.Key) {
	r.o.OnChange(key)
	r.Poke()
}
