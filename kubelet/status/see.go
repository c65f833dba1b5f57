package status

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"boot.internal/kubelet/pod"
)

// See takes a pod of the API as that has it now. It reports whether the pod is
// new to the Writer: then what the API holds is what Get returns until a status
// is set, and the prober should go on from it (see Seeds). What others changed of
// the kubelet's part of a status is put right.
func (w *Writer) See(p *v1.Pod) (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[p.UID]
	if e == nil {
		w.entries[p.UID] = &entry{pod: p, object: p.UID, held: p.Status, met: true}
		return true
	}
	if !isNewer(p, e.pod) {
		return false
	}
	ends := p.DeletionTimestamp != nil && e.pod.DeletionTimestamp == nil
	changed := !apiequality.Semantic.DeepEqual(p.Status, e.held)
	e.pod = p
	if changed {
		e.held, e.written = p.Status, nil
	}
	if changed || ends {
		e.due = true
		w.look()
	}
	if ends {
		e.settled = time.Time{}
	}
	return false
}

// Release says that nothing of a pod of the API runs and nothing is held for it
// any more. If the pod is being deleted it goes for good once its last status is
// written.
func (w *Writer) Release(p *v1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.entries[p.UID]; e != nil && !pod.IsStatic(p) {
		e.released, e.due = true, true
		w.look()
	}
}

// bury deletes a pod whose end was asked for, has come, and has been told.
func (w *Writer) bury(ctx context.Context, api API, e *entry) error {
	w.mu.Lock()
	p := e.pod
	ready := e.released && !e.deleted && e.status != nil && e.status == e.written && p.DeletionTimestamp != nil
	w.mu.Unlock()
	if !ready {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := api.Delete(ctx, pod.KeyOf(p), p.UID); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e.deleted = true
	return nil
}

// newer notes the version that a request of our own has made, so that hearing of
// it is no news.
func (w *Writer) newer(e *entry, p *v1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !pod.IsStatic(e.pod) && isNewer(p, e.pod) {
		p.ManagedFields = nil // nobody here looks at it
		e.pod = p
	}
}

// isNewer reports whether a is a later version of the object than b.
func isNewer(a, b *v1.Pod) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}
