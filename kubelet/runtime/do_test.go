package runtime_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/fake"
)

func onePod() *v1.Pod {
	p := &v1.Pod{}
	p.Name, p.Namespace, p.UID = "web", "shop", "u"
	p.Spec.DNSPolicy = v1.DNSDefault
	p.Spec.Containers = []v1.Container{{Name: "a", Image: "i:1"}}
	return p
}

// broken fails as images, volumes and cgroups.
type broken struct{}

func (broken) Ensure(context.Context, *v1.Pod, *v1.Container) (*cri.Image, error) {
	return nil, errors.New("no image")
}

func (broken) SubPath(context.Context, *v1.Pod, pod.SubPath) (string, error) {
	return "", errors.New("no volumes")
}

func (broken) Setup(context.Context, *v1.Pod) (map[string]pod.Volume, error) {
	return nil, errors.New("no volumes")
}

func (broken) Raise(*v1.Pod) error            { return errors.New("no cgroup") }
func (broken) Update(*v1.Pod) error           { return errors.New("no cgroup") }
func (broken) Create(*v1.Pod) (string, error) { return "", errors.New("no cgroup") }

// TestFailures shows the reason, the error and the event of what goes wrong. In
// each case there is a sandbox with a running container.
func TestFailures(t *testing.T) {
	var (
		create = pod.CreateSandbox{Attempt: 1}
		start  = pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}, Attempt: 1}
		kill   = pod.KillContainer{Name: "a", ID: "container-2"}
	)
	for _, c := range []struct {
		name   string
		fail   string // method
		set    func(*runtime.Options)
		pod    func(*v1.Pod)
		action pod.Action
		reason string
		text   string
		event  string // "" for none
	}{
		{
			"volumes", "", func(o *runtime.Options) { o.Volumes = broken{} }, nil, create,
			"FailedMount", "no volumes", "FailedMount",
		},
		{
			"cgroup", "", func(o *runtime.Options) { o.Cgroups = broken{} }, nil, create,
			"FailedCreatePodSandBox", "no cgroup", "FailedCreatePodSandBox",
		},
		{
			"sandbox", "RunPodSandbox", nil, nil, create,
			"FailedCreatePodSandBox", "broken", "FailedCreatePodSandBox",
		},
		{
			"hostname", "", nil, func(p *v1.Pod) { p.Spec.DNSPolicy = "X" }, create,
			"FailedCreatePodSandBox", "invalid DNSPolicy=X", "FailedCreatePodSandBox",
		},
		{
			"no such container", "", nil, nil,
			pod.StartContainer{Name: "b"},
			"CreateContainerConfigError", `container "b" is not in the pod`, "Failed",
		},
		{
			"image", "", func(o *runtime.Options) { o.Images = broken{} }, nil, start,
			"ErrImagePull", "no image", "Failed",
		},
		{
			"sandbox gone", "", nil, nil,
			pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "gone"}},
			"CreateContainerError", `sandbox "gone" not found`, "Failed",
		},
		{
			"volumes at start", "", func(o *runtime.Options) { o.Volumes = broken{} }, nil, start,
			"CreateContainerConfigError", "no volumes", "Failed",
		},
		{
			"non-root", "", nil, func(p *v1.Pod) { p.Spec.SecurityContext = &v1.PodSecurityContext{RunAsNonRoot: new(true)} }, start,
			"CreateContainerConfigError",
			`container has runAsNonRoot and image will run as root (pod: "web_shop(u)", container: a)`, "Failed",
		},
		{
			"create", "CreateContainer", nil, nil, start,
			"CreateContainerError", "broken", "Failed",
		},
		{
			"start", "StartContainer", nil, nil, start,
			"RunContainerError", "broken", "Failed",
		},
		{
			"kill", "StopContainer", nil, nil, kill,
			"KillContainerError", `stop container "a": broken`, "FailedKillPod",
		},
		{
			"kill, at the look", "ContainerStatus", nil, nil, kill,
			"KillContainerError", `stop container "a": broken`, "FailedKillPod",
		},
		{
			"stop of the sandbox", "StopPodSandbox", nil, nil,
			pod.StopSandbox{ID: "sandbox-1"},
			"KillPodSandboxError", "stop sandbox: broken", "FailedKillPod",
		},
		{
			"removal", "RemoveContainer", nil, nil,
			pod.RemoveContainer{Name: "a", ID: "container-2"},
			"RemoveContainerError", `remove container "a": broken`, "",
		},
		{
			"removal of the sandbox", "RemovePodSandbox", nil, nil,
			pod.RemoveSandbox{ID: "sandbox-1"},
			"KillPodSandboxError", "remove sandbox: broken", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, o, w := newFake(t)
				p := onePod()
				do(t, w, p, pod.CreateSandbox{}, pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}})
				before := len(w.Events.Of(p))
				if c.set != nil {
					c.set(&o)
				}
				if c.pod != nil {
					c.pod(p)
				}
				if c.fail != "" {
					f.Fail(c.fail, 1, errors.New("broken"))
				}
				err := runtime.New(o).Do(t.Context(), p, c.action)
				var failed *pod.ActionError
				if !errors.As(err, &failed) || failed.Reason != c.reason || failed.Error() != c.text {
					t.Errorf("error %#v: %v", err, err)
				}
				events := w.Events.Of(p)[before:]
				if c.event == "" && len(events) > 0 || c.event != "" && !slices.Contains(events, c.event) {
					t.Errorf("events %q, want %q", events, c.event)
				}
			})
		})
	}
}

func TestUnknownPod(t *testing.T) {
	_, _, w := newFake(t)
	for _, a := range []pod.Action{pod.CreateSandbox{}, pod.StartContainer{Name: "a"}} {
		if err := w.Runtime.Do(t.Context(), nil, a); err == nil {
			t.Errorf("%s of no pod", a)
		}
	}
}

// A cancelled action is no failure of the pod's, and its error says so.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, w := newFake(t)
		f.Delay("RunPodSandbox", 1, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := w.Runtime.Do(ctx, onePod(), pod.CreateSandbox{})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if events := w.Events.Of(onePod()); len(events) > 0 {
			t.Errorf("events %q", events)
		}
	})
}

// Calls that hang are given up, those that are to take their time are not.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, w := newFake(t)
		p := onePod()
		f.Delay("RunPodSandbox", 1, time.Hour)
		began := time.Now()
		if err := w.Runtime.Do(t.Context(), p, pod.CreateSandbox{}); err == nil || time.Since(began) != 4*time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if events := w.Events.Of(p); !slices.Contains(events, "FailedCreatePodSandBox") {
			t.Errorf("events %q", events)
		}
		f.Script("a", fake.Program{StopTakes: 59 * time.Minute})
		do(t, w, p, pod.CreateSandbox{}, pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}})
		began = time.Now()
		do(t, w, p, pod.KillContainer{Name: "a", ID: "container-2", Grace: time.Hour})
		if d := time.Since(began); d != 59*time.Minute {
			t.Errorf("kill took %s", d)
		}
	})
}

// What vanishes between the list and the look is left out.
func TestObserveRaces(t *testing.T) {
	f, _, w := newFake(t)
	p := onePod()
	do(t, w, p, pod.CreateSandbox{}, pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}})
	gone := status.Error(codes.NotFound, "gone")
	f.Fail("PodSandboxStatus", 1, gone)
	f.Fail("ContainerStatus", 1, gone)
	if have := observe(t, w, p); len(have.Sandboxes)+len(have.Containers) > 0 {
		t.Errorf("%+v", have)
	}
	for _, method := range []string{"ListPodSandbox", "ListContainers", "PodSandboxStatus", "ContainerStatus"} {
		f.Fail(method, 1, errors.New("broken"))
		if _, err := w.Runtime.Observe(t.Context(), pod.KeyOf(p)); err == nil {
			t.Errorf("%s failed, and nobody said so", method)
		}
	}
}

// IC-11 An ephemeral container sees the processes of its target while that runs.
func TestEphemeralTarget(t *testing.T) {
	f, _, w := newFake(t)
	p := onePod()
	debug := v1.EphemeralContainer{TargetContainerName: "a"}
	debug.Name, debug.Image = "debug", "i:1"
	p.Spec.EphemeralContainers = []v1.EphemeralContainer{debug}
	start := pod.StartContainer{Name: "debug", Sandbox: pod.Sandbox{ID: "sandbox-1"}}
	do(t, w, p, pod.CreateSandbox{})
	if err := w.Runtime.Do(t.Context(), p, start); err == nil || err.Error() != `target container "a" does not run` {
		t.Error(err)
	}
	do(t, w, p, pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}}, start)
	if got, want := f.Running(), []string{"a", "debug"}; !slices.Equal(got, want) {
		t.Errorf("running %q, want %q", got, want)
	}
}
