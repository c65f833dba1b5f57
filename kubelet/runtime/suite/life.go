package suite

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

func lifeCases() []Case {
	return []Case{
		{"a sandbox is seen as it was made", sandboxSeen},
		{"a sandbox on the host network has no address", hostNetwork},
		{"a container is seen as it was made", containerSeen},
		{"what another pod is called is not seen", othersUnseen},
		{"IC-12 an exit code and what the container said", exitSeen},
		{"a failed container without a message shows its log", logFallback},
		{"a program that is not there", missingProgram},
		{"SP-43 the restart count lives in the log files", restartCount},
		{"a removed container leaves no files", removedFiles},
		{"a stopped sandbox is not ready, a removed one not there", sandboxEnds},
		{"IC-22 a lost sandbox is seen", lostSandbox},
		{"a volume is mounted", volume},
	}
}

func sandboxSeen(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "sleep", "infinity"))
	s := b.sandbox()
	if len(s.IPs) == 0 {
		t.Error("no address")
	}
	if time.Since(s.CreatedAt).Abs() > time.Hour {
		t.Errorf("created at %s", s.CreatedAt)
	}
	want := pod.Sandbox{
		ID: s.ID, UID: b.pod.UID, Ready: true, CreatedAt: s.CreatedAt, IPs: s.IPs, Source: "file", Hash: "hash",
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
	b.do(pod.StopSandbox{ID: s.ID}, pod.CreateSandbox{Attempt: 1})
	have := b.look().Sandboxes
	if len(have) != 2 || have[0].Attempt != 1 || !have[0].Ready || have[1].Ready {
		t.Errorf("want the new sandbox, then the old: %+v", have)
	}
}

func hostNetwork(t *testing.T, w *World) {
	b := &bench{T: t, w: w, pod: podOf(w, t.Name(), nil)}
	b.pod.Spec.HostNetwork = true
	t.Cleanup(b.removeAll)
	b.do(pod.CreateSandbox{})
	if s := b.sandbox(); !s.HostNetwork || len(s.IPs) > 0 {
		t.Errorf("host network %v, addresses %v", s.HostNetwork, s.IPs)
	}
}

func containerSeen(t *testing.T, w *World) {
	a := running("a", "sleep", "infinity")
	a.Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}}
	b := newBench(t, w, running("first", "sleep", "infinity"), a)
	sandbox := b.sandbox()
	b.do(pod.StartContainer{Name: "a", Sandbox: sandbox, Attempt: 3, Backoff: 20 * time.Second})
	c := b.container("a")
	log := c.LogPath
	if _, err := os.Stat(log); err != nil || !filepath.IsAbs(log) {
		t.Errorf("log: %v", err)
	}
	if c.StartedAt.Before(c.CreatedAt) || c.ImageID == "" || c.ImageRef == "" {
		t.Errorf("created %s, started %s, image %q %q", c.CreatedAt, c.StartedAt, c.ImageID, c.ImageRef)
	}
	want := pod.Container{
		ID: c.ID, Name: "a", PodUID: b.pod.UID, SandboxID: sandbox.ID, Kind: pod.Regular, Index: 1,
		Hash:  pod.ContainerHash(b.pod, &b.pod.Spec.Containers[1]),
		State: pod.Running, Attempt: 3, CreatedAt: c.CreatedAt, StartedAt: c.StartedAt,
		Image: w.Image, ImageID: c.ImageID, ImageRef: c.ImageRef,
		Backoff: 20 * time.Second, Grace: 7 * time.Second, PreStop: a.Lifecycle.PreStop,
		LogPath: log, User: c.User, Resources: c.Resources,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if got, want := w.Events.Of(b.pod), []string{"Created", "Started"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func othersUnseen(t *testing.T, w *World) {
	newBench(t, w, running("a", "sleep", "infinity"))
	for _, key := range []pod.Key{{Namespace: "suite", Name: "p"}, {Namespace: "default", Name: "p"}} {
		have, err := w.Runtime.Observe(t.Context(), key)
		if err != nil || len(have.Sandboxes)+len(have.Containers) > 0 {
			t.Errorf("%s: %+v, %v", key, have, err)
		}
	}
}

func exitSeen(t *testing.T, w *World) {
	b := newBench(t, w,
		running("fails", "exit", "3"),
		running("says", "write", v1.TerminationMessagePathDefault, "done"))
	b.start("fails")
	c := b.exited("fails")
	if c.ExitCode != 3 || c.Reason != "Error" || !c.Failed() || c.FinishedAt.IsZero() || c.Message != "" {
		t.Errorf("fails: %+v", c)
	}
	b.start("says")
	c = b.exited("says")
	if c.ExitCode != 0 || c.Reason != "Completed" || c.Failed() || c.Message != "done\n" {
		t.Errorf("says: %+v", c)
	}
}

func logFallback(t *testing.T, w *World) {
	c := running("a", "ls", "/no/such/directory")
	c.TerminationMessagePolicy = v1.TerminationMessageFallbackToLogsOnError
	b := newBench(t, w, c)
	b.start("a")
	want := "testbox: open /no/such/directory: no such file or directory\n"
	if have := b.exited("a"); have.ExitCode != 1 || have.Message != want {
		t.Errorf("exit code %d, message %q", have.ExitCode, have.Message)
	}
}

func missingProgram(t *testing.T, w *World) {
	c := running("a")
	c.Command = []string{"/no/such/program"}
	b := newBench(t, w, c)
	err := w.Runtime.Do(t.Context(), b.pod, pod.StartContainer{Name: "a", Sandbox: b.sandbox()})
	var failed *pod.ActionError
	if !errors.As(err, &failed) || failed.Reason != "RunContainerError" {
		t.Errorf("error %v", err)
	}
	if have := b.container("a"); have.State != pod.Exited || !have.Failed() {
		t.Errorf("left behind: %+v", have)
	}
}

func restartCount(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "exit", "0"))
	if c := b.start("a"); c.Attempt != 0 {
		t.Fatalf("attempt %d of the first", c.Attempt)
	}
	b.exited("a")
	b.removeAll()
	b.do(pod.CreateSandbox{})
	if c := b.start("a"); c.Attempt != 1 {
		t.Errorf("attempt %d after the pod came back, want 1", c.Attempt)
	}
}

func removedFiles(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "exit", "0"))
	files := func() string {
		var all []string
		_ = filepath.WalkDir(w.Dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.Contains(path, b.pod.Name) {
				all = append(all, strings.NewReplacer(b.pod.Name, "P", w.Dir+"/", "").Replace(path))
			}
			return nil
		})
		return strings.Join(all, "\n")
	}
	before := files()
	b.start("a")
	first := b.exited("a")
	b.do(pod.RemoveContainer{Name: "a", ID: first.ID}, pod.RemoveContainer{Name: "a", ID: first.ID})
	if got, want := files(), strings.TrimSpace("logs/suite_P_uid-P/a/0.log\npods/uid-P/etc-hosts\n"+before); got != want {
		t.Errorf("files\n%s\nwant\n%s", got, want)
	}
	b.do(pod.StartContainer{Name: "a", Sandbox: b.sandbox(), Attempt: 1})
	b.exited("a")
	b.do(pod.StartContainer{Name: "a", Sandbox: b.sandbox(), Attempt: 2})
	b.exited("a")
	sandbox := b.sandbox().ID
	b.do(pod.StopSandbox{ID: sandbox}, pod.RemoveSandbox{ID: sandbox})
	if got := files(); strings.Contains(got, "1.log") || !strings.Contains(got, "2.log") || strings.Contains(got, "containers/") {
		t.Errorf("after removal of the sandbox:\n%s", got)
	}
}

func sandboxEnds(t *testing.T, w *World) {
	b := newBench(t, w, stubborn("a"))
	b.start("a")
	s := b.sandbox()
	b.do(pod.StopSandbox{ID: s.ID}, pod.StopSandbox{ID: s.ID})
	if c := b.container("a"); c.State != pod.Exited {
		t.Errorf("container of a stopped sandbox: %s", c.State)
	}
	if s := b.sandbox(); s.Ready || len(s.IPs) > 0 {
		t.Errorf("ready %v, addresses %v", s.Ready, s.IPs)
	}
	b.do(pod.RemoveSandbox{ID: s.ID}, pod.RemoveSandbox{ID: s.ID}, pod.StopSandbox{ID: s.ID})
	if have := b.look(); len(have.Sandboxes)+len(have.Containers) > 0 {
		t.Errorf("left: %+v", have)
	}
}

func lostSandbox(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "sleep", "infinity"))
	b.start("a")
	w.LoseSandbox(t, pod.KeyOf(b.pod))
	b.await("the sandbox is not ready", func() bool { return !b.sandbox().Ready })
}

func volume(t *testing.T, w *World) {
	c := running("a", "write", "/data/said", "hello")
	c.VolumeMounts = []v1.VolumeMount{{Name: "scratch", MountPath: "/data"}}
	b := newBench(t, w, c)
	b.start("a")
	if c := b.exited("a"); c.ExitCode != 0 {
		t.Fatalf("%+v", c)
	}
	got, err := os.ReadFile(filepath.Join(w.Dir, "scratch", "said"))
	if err != nil || string(got) != "hello\n" {
		t.Errorf("read %q, %v", got, err)
	}
}
