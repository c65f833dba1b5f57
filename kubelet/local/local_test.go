package local

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/pod"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func at(minutes int) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
}

func running(minutes int) v1.ContainerState {
	return v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: at(minutes)}}
}

func terminated(code int32, minutes int) v1.ContainerState {
	return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code, Reason: "Error", FinishedAt: at(minutes)}}
}

func waits(reason, message string) v1.ContainerState {
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func status(phase v1.PodPhase, ready bool, containers ...v1.ContainerStatus) v1.PodStatus {
	s := v1.PodStatus{Phase: phase, StartTime: new(at(0)), ContainerStatuses: containers}
	if ready {
		s.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	}
	return s
}

func TestPodOf(t *testing.T) {
	warned := &Failure{Text: "Readiness probe failed: 500", Container: "c", At: noon.Add(30 * time.Minute)}
	for name, tc := range map[string]struct {
		status  v1.PodStatus
		state   PodState
		since   int
		failure string
	}{
		"nothing of it yet": {status(v1.PodPending, false), Starting, 0, warned.Text},
		"it runs":           {status(v1.PodRunning, true, v1.ContainerStatus{State: running(3)}), Running, 3, ""},
		"it runs again": {
			status(v1.PodRunning, true, v1.ContainerStatus{State: running(9), LastTerminationState: terminated(2, 8), RestartCount: 1}),
			Running, 9, "exit code 2",
		},
		"a probe fails": {status(v1.PodRunning, false, v1.ContainerStatus{State: running(3)}), Unready, 3, warned.Text},
		"it has not started up": {
			status(v1.PodRunning, false, v1.ContainerStatus{State: running(3), Started: new(bool)}), Starting, 3, warned.Text,
		},
		"it crashes": {
			status(v1.PodRunning, false, v1.ContainerStatus{State: running(1)},
				v1.ContainerStatus{State: waits("CrashLoopBackOff", "back-off 10s"), LastTerminationState: terminated(1, 40)}),
			Crashing, 40, "exit code 1",
		},
		"no image": {
			status(v1.PodPending, false, v1.ContainerStatus{State: waits("ErrImagePull", "not found")}), Stuck, 0, "ErrImagePull: not found",
		},
		"it ended well":  {status(v1.PodSucceeded, false, v1.ContainerStatus{State: terminated(0, 5)}), Succeeded, 5, ""},
		"it ended badly": {status(v1.PodFailed, false, v1.ContainerStatus{State: terminated(3, 50)}), Failed, 50, "exit code 3"},
		"not taken": {
			v1.PodStatus{Phase: v1.PodFailed, Reason: "OutOfcpu", Message: "no room", StartTime: new(at(0))}, Rejected, 0, "OutOfcpu: no room",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", Annotations: map[string]string{pod.ConfigSource: pod.SourceFile}}}
			got := PodOf(p, tc.status, warned)
			text := ""
			if got.Failure != nil {
				text = got.Failure.Text
			}
			want := []any{tc.state, at(tc.since).Time, tc.failure, true, "file"}
			if diff := cmp.Diff(want, []any{got.State, got.Since, text, got.Static, got.Source}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOneAsksAndWatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "loop.sock")
	client := NewClient(path)
	if _, err := client.State(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("no loop: %v", err)
	}
	var pid atomic.Int64
	s := NewServer(func() State { return State{Node: "n1", PID: int(pid.Load())} }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, path) }()
	await(t, func() bool { _, err := os.Stat(path); return err == nil })
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v", fi.Mode(), err)
	}
	state, err := client.State(t.Context())
	if err != nil || state.Node != "n1" {
		t.Fatalf("%+v, %v", state, err)
	}
	enough := errors.New("enough")
	err = client.Watch(t.Context(), func(s *State) error {
		if s.PID == 0 {
			pid.Store(7)
			return nil
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("watch: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := client.State(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a loop that has ended: %v", err)
	}
	// What is left of it is in nobody's way.
	again, stop := context.WithCancel(t.Context())
	go func() { ended <- s.Run(again, path) }()
	await(t, func() bool { _, err := client.State(t.Context()); return err == nil })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func await(t *testing.T, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

func TestComplaintsAreHeardOfTheLog(t *testing.T) {
	c := NewComplaints()
	log := slog.New(c.Handler(slog.DiscardHandler))
	log.Info("all is well")
	log.Warn("list what runs", slog.Any("err", errors.New("first")))
	log.With(slog.String("path", "/m")).Warn("list what runs", slog.Any("err", errors.New("second")))
	log.Warn("event", slog.String("pod", "n/p"), slog.String("container", "c"), slog.String("message", "Liveness probe failed"))
	log.Info("event", slog.String("pod", "n/p"), slog.String("message", "Started"))
	all := c.All()
	if len(all) != 1 || all[0].Count != 2 || all[0].Err != "second" || all[0].Of != "/m" {
		t.Errorf("complaints: %+v", all)
	}
	if f := c.OfPod("n/p"); f == nil || f.Text != "Liveness probe failed" || f.Container != "c" {
		t.Errorf("of the pod: %+v", f)
	}
	c.Keep(nil)
	if f := c.OfPod("n/p"); f != nil {
		t.Errorf("of a pod that is gone: %+v", f)
	}
	for i := range 3 * maxComplaints {
		c.note(noon, string(rune('A'+i))+" fails", nil)
	}
	if all := c.All(); len(all) != maxComplaints {
		t.Errorf("%d complaints are remembered", len(all))
	}
}
