package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

// A trace is all that happened to sandboxes and containers, as the engine tells it:
// what was only looked at now and then could have been missed. The engine tells of
// each when it gets to it, so of a container that ends at once it may tell the end
// first: what comes before what is a matter of the times.
type trace struct {
	mu     sync.Mutex
	events []traced
	names  map[string]string                  // of containers, by ID
	pods   map[string]*cri.PodSandboxMetadata // of containers and sandboxes, by ID
}

// A traced event is one line of a trace.
type traced struct {
	pod, uid string
	what     string    // such as "sandbox created" or "web started"
	at       time.Time // when it was
	order    time.Time // the same, but the end of a container comes after its start
	code     int32     // with which a container ended
}

// follow keeps a trace until the test ends.
func follow(t *testing.T, client cri.RuntimeServiceClient) *trace {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	stream, err := client.GetContainerEvents(ctx, &cri.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	tr := &trace{names: map[string]string{}, pods: map[string]*cri.PodSandboxMetadata{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			e, err := stream.Recv()
			if err != nil {
				return // the test has ended
			}
			tr.note(e)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return tr
}

func (tr *trace) note(e *cri.ContainerEventResponse) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, c := range e.ContainersStatuses {
		tr.names[c.Id] = c.Metadata.Name
	}
	if e.PodSandboxStatus != nil {
		tr.pods[e.ContainerId] = e.PodSandboxStatus.Metadata
		tr.names[e.PodSandboxStatus.Id] = "sandbox"
	}
	pod := tr.pods[e.ContainerId]
	if pod == nil {
		return
	}
	what := strings.TrimSuffix(strings.TrimPrefix(e.ContainerEventType.String(), "CONTAINER_"), "_EVENT")
	event := traced{pod: pod.Name, uid: pod.Uid, what: tr.names[e.ContainerId] + " " + strings.ToLower(what)}
	event.look(e)
	tr.events = append(tr.events, event)
}

// look completes an event with what the engine has of it: when it was, or else when
// it was told. The engine notes the start of a container when it hears that it went
// well, and that may have ended by then.
func (to *traced) look(e *cri.ContainerEventResponse) {
	nano, least := e.CreatedAt, int64(0)
	if s := e.PodSandboxStatus; s != nil && s.Id == e.ContainerId && e.ContainerEventType == cri.ContainerEventType_CONTAINER_CREATED_EVENT {
		nano = s.CreatedAt
	}
	for _, c := range e.ContainersStatuses {
		switch {
		case c.Id != e.ContainerId:
		case e.ContainerEventType == cri.ContainerEventType_CONTAINER_STARTED_EVENT:
			nano = c.StartedAt
		case e.ContainerEventType == cri.ContainerEventType_CONTAINER_STOPPED_EVENT:
			nano, least, to.code = c.FinishedAt, c.StartedAt+1, c.ExitCode
		}
	}
	to.at, to.order = time.Unix(0, nano), time.Unix(0, max(nano, least))
}

// of returns what happened to a pod, by its full name, in order.
func (tr *trace) of(pod string) []traced {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	events := slices.DeleteFunc(slices.Clone(tr.events), func(e traced) bool { return e.pod != pod })
	slices.SortStableFunc(events, func(a, b traced) int { return a.order.Compare(b.order) })
	return events
}

// upTo returns what happened to a pod until its container c started, and since: the
// engine may tell of the start a moment after the pod's status does.
func (tr *trace) upTo(t testing.TB, p *corev1.Pod) []traced {
	t.Helper()
	tr.await(t, p, "c started")
	return tr.of(p.Name)
}

// await waits until the engine has told of something, and returns it.
func (tr *trace) await(t testing.TB, p *corev1.Pod, what string) (event traced) {
	t.Helper()
	lab.Until(t, patience, "be told of "+what, func(context.Context) error {
		events := tr.of(p.Name)
		i := slices.IndexFunc(events, func(e traced) bool { return e.uid == string(p.UID) && e.what == what })
		if i < 0 {
			return fmt.Errorf("so far %v", events)
		}
		event = events[i]
		return nil
	})
	return event
}

// starts returns the containers of a pod that started, and those that stopped,
// in order.
func (tr *trace) starts(pod string) []string {
	var lines []string
	for _, e := range tr.of(pod) {
		if !strings.HasPrefix(e.what, "sandbox ") && (strings.HasSuffix(e.what, " started") || strings.HasSuffix(e.what, " stopped")) {
			lines = append(lines, e.what)
		}
	}
	return lines
}

// uids returns the UIDs that a pod had, in order.
func (tr *trace) uids(pod string) []string {
	var uids []string
	for _, e := range tr.of(pod) {
		if !slices.Contains(uids, e.uid) {
			uids = append(uids, e.uid)
		}
	}
	return uids
}

// expect waits until exactly this has started and stopped in a pod: the engine
// may tell of it a moment later than the pod's status does.
func (tr *trace) expect(t testing.TB, pod string, want ...string) {
	t.Helper()
	lab.Until(t, patience, "see all that happened to "+pod, func(context.Context) error {
		if diff := cmp.Diff(want, tr.starts(pod)); diff != "" {
			return errors.New("(-want +got):\n" + diff)
		}
		return nil
	})
}
