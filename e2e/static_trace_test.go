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

// A trace is all that happened to sandboxes and containers, in order, as the
// engine tells it: what was only looked at now and then could have been missed.
type trace struct {
	mu     sync.Mutex
	events []traced
	names  map[string]string // of containers, by ID
}

// A traced event is one line of a trace.
type traced struct {
	pod, uid string
	what     string // such as "sandbox created" or "web started"
	at       time.Time
}

// follow keeps a trace until the test ends.
func follow(t *testing.T, client cri.RuntimeServiceClient) *trace {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	stream, err := client.GetContainerEvents(ctx, &cri.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	tr := &trace{names: map[string]string{}}
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
	name := tr.names[e.ContainerId]
	sandbox := e.PodSandboxStatus
	if sandbox == nil {
		return
	}
	if sandbox.Id == e.ContainerId {
		name = "sandbox"
	}
	what := strings.TrimSuffix(strings.TrimPrefix(e.ContainerEventType.String(), "CONTAINER_"), "_EVENT")
	tr.events = append(tr.events, traced{
		pod: sandbox.Metadata.Name, uid: sandbox.Metadata.Uid,
		what: name + " " + strings.ToLower(what), at: time.Unix(0, e.CreatedAt),
	})
}

// of returns what happened to a pod, by its full name.
func (tr *trace) of(pod string) []traced {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(tr.events), func(e traced) bool { return e.pod != pod })
}

// upTo returns what happened to a pod until a container of it started, and since:
// the engine may tell of the start a moment after the pod's status does.
func (tr *trace) upTo(t testing.TB, p *corev1.Pod, container string) []traced {
	t.Helper()
	lab.Until(t, patience, "be told that "+container+" started", func(context.Context) error {
		events := tr.of(p.Name)
		if !slices.ContainsFunc(events, func(e traced) bool { return e.uid == string(p.UID) && e.what == container+" started" }) {
			return fmt.Errorf("so far %v", events)
		}
		return nil
	})
	return tr.of(p.Name)
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
