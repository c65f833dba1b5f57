package status

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"boot.internal/kubelet/pod"
)

// send writes the status of an entry if the API holds another one. The entry is
// marked busy, so nobody else sends it.
func (w *Writer) send(ctx context.Context, api API, e *entry) error {
	w.mu.Lock()
	p := e.pod
	w.mu.Unlock()
	object, ok := w.object(p)
	if !ok {
		return nil // it is not told of; a mirror that comes will be news (SP-55)
	}
	s, held := w.meet(e, object)
	if s == nil {
		return w.bury(ctx, api, e)
	}
	patch, err := patchOf(object.UID, held, merge(held, *s))
	if err != nil {
		return err
	}
	if patch == nil {
		w.held(e, s, held)
		return w.bury(ctx, api, e)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	result, err := api.PatchStatus(ctx, pod.KeyOf(p), patch)
	if err != nil {
		return err
	}
	w.held(e, s, result.Status)
	w.newer(e, result)
	return w.bury(ctx, api, e)
}

// object returns the pod as the API knows it: the mirror of a static pod.
func (w *Writer) object(p *v1.Pod) (*v1.Pod, bool) {
	if !pod.IsStatic(p) {
		return p, true
	}
	uid, ok := w.o.Mirrors.UIDFor(p)
	if !ok {
		return nil, false
	}
	m, ok := w.o.Mirrors.Pod(pod.KeyOf(p))
	return m, ok && m.UID == uid
}

// meet compares an entry with the object it is to be written to. It returns what
// to write and what is there now; nothing if that is the same already, or if the
// status has to be made anew first.
func (w *Writer) meet(e *entry, object *v1.Pod) (s *v1.PodStatus, held v1.PodStatus) {
	w.mu.Lock()
	if e.object != object.UID {
		e.object, e.held, e.written = object.UID, *object.Status.DeepCopy(), nil
	}
	first := !e.met
	e.met = true
	if first && w.o.Adopt != nil && len(e.held.ContainerStatuses) > 0 {
		e.status, e.adopted = nil, true
		p, known := e.pod, e.held
		w.mu.Unlock()
		w.o.Adopt(p, known)
		return nil, held
	}
	defer w.mu.Unlock()
	if e.status == e.written {
		return nil, held
	}
	e.settled, e.overdue = time.Time{}, time.Time{}
	return e.status, e.held
}

// held notes what the API holds now that s was written.
func (w *Writer) held(e *entry, s *v1.PodStatus, now v1.PodStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.held, e.written = now, s
	if w.failing {
		w.failing = false
		w.o.Logger.Info("status is written again")
	}
}

// findForeign makes due what others changed in the API since it was written.
// Where that is only news that is late, the patch says once more what holds.
func (w *Writer) findForeign() {
	w.mu.Lock()
	written := map[*entry]*v1.Pod{}
	for _, e := range w.entries {
		if e.written != nil && pod.IsStatic(e.pod) {
			written[e] = e.pod
		}
	}
	w.mu.Unlock()
	for e, p := range written {
		object, ok := w.object(p)
		if !ok {
			continue
		}
		w.mu.Lock()
		if object.UID == e.object && !apiequality.Semantic.DeepEqual(object.Status, e.held) {
			e.held, e.written, e.due = *object.Status.DeepCopy(), nil, true
		}
		w.mu.Unlock()
	}
}
