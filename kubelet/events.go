package kubelet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"boot.internal/kubelet/pod"
)

// maxPending bounds the events kept for an API that is not there yet.
const maxPending = 256

// eventPatience is how old an event may become while many pods start at once.
// Each costs the API server as much as a status does, and three are told of every
// pod that starts: the pods are Ready sooner if that comes afterwards.
const eventPatience = 10 * time.Second

// Events are told to the log at once and to the API once there is one. Telling
// never blocks.
type events struct {
	node   string
	logger *slog.Logger
	// heard is told what happens to containers. It must not block; may be nil.
	heard func(p *v1.Pod, container, reason string)

	mu       sync.Mutex // guards the fields below
	recorder record.EventRecorder
	pending  []event // oldest first, at most maxPending
}

type event struct {
	object                runtime.Object
	kind, reason, message string
	annotations           map[string]string
}

// send hands an event to a recorder.
func (ev event) send(r record.EventRecorder) {
	if len(ev.annotations) == 0 {
		r.Event(ev.object, ev.kind, ev.reason, ev.message)
		return
	}
	r.AnnotatedEventf(ev.object, ev.annotations, ev.kind, ev.reason, "%s", ev.message)
}

func newEvents(node string, logger *slog.Logger) *events {
	return &events{node: node, logger: logger}
}

// ofPod records an event of a pod.
func (e *events) ofPod(p *v1.Pod, kind, reason, message string) {
	e.ofPodWith(p, nil, kind, reason, message)
}

// ofContainer records an event of a container of a pod, or, where that is "", of
// the pod.
func (e *events) ofContainer(p *v1.Pod, container, kind, reason, message string) {
	if container == "" || p == nil {
		e.ofPod(p, kind, reason, message)
		return
	}
	if e.heard != nil {
		e.heard(p, container, reason)
	}
	e.log(kind, reason, message, slog.String("pod", pod.KeyOf(p).String()), slog.String("container", container))
	ref := podRef(p)
	ref.FieldPath = pod.FieldPath(p, container)
	e.record(event{object: ref, kind: kind, reason: reason, message: message})
}

// ofPodWith records an event of a pod that has annotations.
func (e *events) ofPodWith(p *v1.Pod, annotations map[string]string, kind, reason, message string) {
	if p == nil {
		return
	}
	e.log(kind, reason, message, slog.String("pod", pod.KeyOf(p).String()))
	e.record(event{podRef(p), kind, reason, message, annotations})
}

// ofNode records an event of this node.
func (e *events) ofNode(kind, reason, message string) {
	e.log(kind, reason, message, slog.String("node", e.node))
	ref := &v1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: e.node, UID: types.UID(e.node)}
	e.record(event{object: ref, kind: kind, reason: reason, message: message})
}

// podRef refers to a pod as clients look for it: a static pod by the hash that
// its mirror carries.
func podRef(p *v1.Pod) *v1.ObjectReference {
	uid := p.UID
	if pod.IsStatic(p) {
		uid = types.UID(p.Annotations[pod.ConfigHash])
	}
	return &v1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: uid}
}

func (e *events) log(kind, reason, message string, of ...slog.Attr) {
	level := slog.LevelInfo
	if kind == v1.EventTypeWarning {
		level = slog.LevelWarn
	}
	e.logger.LogAttrs(context.Background(), level, "event",
		append(of, slog.String("reason", reason), slog.String("message", message))...)
}

func (e *events) record(ev event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recorder != nil {
		ev.send(e.recorder)
		return
	}
	if len(e.pending) == maxPending {
		e.pending = e.pending[1:]
	}
	e.pending = append(e.pending, ev)
}

// connect sends what is pending, and from now on everything, to the API, until
// ctx ends. Events of a rush give way to it: quiet returns when that is over.
func (e *events) connect(ctx context.Context, client typedv1.EventsGetter, quiet func(context.Context)) {
	b := record.NewBroadcaster(record.WithContext(ctx))
	sink := newSink(&typedv1.EventSinkImpl{Interface: client.Events("")}, giveWay(ctx, quiet), e.logger)
	go sink.retry(ctx)
	b.StartRecordingToSink(sink)
	context.AfterFunc(ctx, b.Shutdown)
	r := b.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: e.node})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recorder = r
	for _, ev := range e.pending {
		ev.send(r)
	}
	e.pending = nil
}

// giveWay returns what waits for a quiet moment with an event, until that is too old.
func giveWay(ctx context.Context, quiet func(context.Context)) func(*v1.Event) {
	return func(ev *v1.Event) {
		ctx, cancel := context.WithDeadline(ctx, ev.LastTimestamp.Add(eventPatience))
		defer cancel()
		quiet(ctx)
	}
}
