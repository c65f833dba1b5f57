package plan_test

import (
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/plan/scene"
	"boot.internal/kubelet/pod"
)

// A world is a runtime and a worker in small: it does what plans say, at once
// and without fail, and complains about every action that a sound plan never
// has.
type world struct {
	want *pod.Want
	have pod.Observed
	now  time.Time

	made int      // for IDs
	log  []string // what was done, for messages
}

func newWorld(s scene.Scene) *world { return &world{want: s.Want, have: s.Have, now: s.Now} }

// settle plans and acts until there is nothing to do and nothing to wait for.
// What is waited for happens: init containers succeed, probes succeed, time
// passes.
func (w *world) settle(most int) error {
	for range most {
		n, err := w.step()
		switch {
		case err != nil:
			return fmt.Errorf("%w, after %v", err, w.log)
		case n.Gone && w.want == nil:
			return nil
		case n.Gone:
			w.have.Stopping = time.Time{}
		case len(n.Actions) > 0:
		case n.Wake > 0:
			w.now = w.now.Add(n.Wake)
		case !w.progress():
			return w.arrived()
		}
	}
	return fmt.Errorf("no end after %d steps: %v", most, w.log)
}

// step plans once and does what the plan says.
func (w *world) step() (plan.Next, error) {
	if w.have.Stopping.IsZero() && plan.Ending(w.want, w.have) {
		w.have.Stopping = w.now
	}
	n := plan.For(w.want, w.have, w.now)
	if n.Wake < 0 {
		return n, fmt.Errorf("wake in %s", n.Wake)
	}
	before := w.have
	before.Sandboxes, before.Containers = slices.Clone(w.have.Sandboxes), slices.Clone(w.have.Containers)
	for _, a := range n.Actions {
		w.log = append(w.log, a.String())
		if err := w.do(a, before); err != nil {
			return n, err
		}
	}
	return n, nil
}

// progress lets one thing happen that the pod waits for.
func (w *world) progress() bool {
	if w.want == nil || w.want.Stop != nil {
		return false
	}
	for i := range w.have.Containers {
		c := &w.have.Containers[i]
		d, _ := pod.Find(w.want.Pod, c.Name)
		switch {
		case c.State == pod.Running && c.Kind == pod.Init:
			w.exit(c, 0)
			return true
		case c.State == pod.Running && d.Container != nil && d.StartupProbe != nil && !w.have.Probes[c.ID].Started:
			w.verdict(c.ID, pod.Verdict{Started: true, Ready: true})
			return true
		}
	}
	return false
}

// arrived says what is wrong with where the pod came to rest.
func (w *world) arrived() error {
	running := map[string]bool{}
	for _, c := range w.have.Containers {
		if c.State != pod.Running && c.State != pod.Unknown {
			continue
		}
		if _, known := pod.Find(w.want.Pod, c.Name); !known || running[c.Name] {
			return fmt.Errorf("%s runs on: %v", c.ID, w.log)
		}
		running[c.Name] = true
	}
	ready := slices.ContainsFunc(w.have.Sandboxes, func(s pod.Sandbox) bool { return s.Ready })
	if w.want.Stop != nil || plan.Over(w.want.Pod, w.have) || w.finished() {
		if ready || len(running) > 0 {
			return fmt.Errorf("at the end %v runs, ready %v: %v", running, ready, w.log)
		}
		return nil
	}
	for _, d := range pod.Containers(w.want.Pod) {
		c, ok := w.have.NewestOf(w.want.Pod.UID, d.Name)
		done := ok && c.State == pod.Exited && !plan.Restarts(w.want.Pod, w.have, d, c)
		needed := d.Kind == pod.Regular && !done || d.Kind == pod.Sidecar
		if needed && !running[d.Name] {
			return fmt.Errorf("%s does not run and nothing is planned: %v", d.Name, w.log)
		}
	}
	return nil
}

// finished reports whether no regular container is to run again, by the policy
// alone.
func (w *world) finished() bool {
	for _, d := range pod.Containers(w.want.Pod) {
		if d.Kind != pod.Regular {
			continue
		}
		again := map[string]bool{"Always": true, "OnFailure": true}
		policy := string(w.want.Pod.Spec.RestartPolicy)
		if d.RestartPolicy != nil {
			policy = string(*d.RestartPolicy)
		}
		c, _ := w.have.NewestOf(w.want.Pod.UID, d.Name)
		if c.State != pod.Exited || again[policy] && (policy == "Always" || c.ExitCode != 0) {
			return false
		}
	}
	return true
}

// do does one action of a plan that was made for before.
func (w *world) do(a pod.Action, before pod.Observed) error {
	switch a := a.(type) {
	case pod.CreateSandbox:
		return w.createSandbox(a)
	case pod.StopSandbox:
		return w.stopSandbox(a)
	case pod.RemoveSandbox:
		return w.removeSandbox(a)
	case pod.StartContainer:
		if err := mayStart(w.want.Pod, a, before); err != nil {
			return err
		}
		return w.startContainer(a)
	case pod.KillContainer:
		return w.killContainer(a)
	case pod.RemoveContainer:
		return w.removeContainer(a)
	}
	return fmt.Errorf("unknown action %v", a)
}

func (w *world) createSandbox(a pod.CreateSandbox) error {
	for _, s := range w.have.Sandboxes {
		if s.Ready || s.UID != w.want.Pod.UID {
			return fmt.Errorf("a second sandbox beside %s", s.ID)
		}
	}
	w.made++
	s := pod.Sandbox{
		ID: fmt.Sprintf("sandbox-%d", w.made), UID: w.want.Pod.UID, Attempt: a.Attempt, Ready: true,
		HostNetwork: w.want.Pod.Spec.HostNetwork,
	}
	if !s.HostNetwork {
		s.IPs = []string{"10.0.0.1"}
	}
	w.have.Sandboxes = append([]pod.Sandbox{s}, w.have.Sandboxes...)
	return nil
}

func (w *world) sandbox(id string) (int, error) {
	i := slices.IndexFunc(w.have.Sandboxes, func(s pod.Sandbox) bool { return s.ID == id })
	if i < 0 {
		return 0, fmt.Errorf("no sandbox %q", id)
	}
	for _, c := range w.have.Containers {
		if c.SandboxID == id && (c.State == pod.Running || c.State == pod.Unknown) {
			return i, fmt.Errorf("%s still runs in %s", c.ID, id)
		}
	}
	return i, nil
}

func (w *world) stopSandbox(a pod.StopSandbox) error {
	i, err := w.sandbox(a.ID)
	if err != nil {
		return err
	}
	if w.have.Sandboxes[i].UID != a.UID {
		return fmt.Errorf("%s is not of %s", a.ID, a.UID)
	}
	w.have.Sandboxes[i].Ready = false
	return nil
}

func (w *world) removeSandbox(a pod.RemoveSandbox) error {
	i, err := w.sandbox(a.ID)
	if err != nil {
		return err
	}
	if w.have.Sandboxes[i].Ready {
		return fmt.Errorf("%s is removed before it is stopped", a.ID)
	}
	w.have.Sandboxes = slices.Delete(w.have.Sandboxes, i, i+1)
	w.have.Containers = slices.DeleteFunc(w.have.Containers, func(c pod.Container) bool { return c.SandboxID == a.ID })
	return nil
}

func (w *world) startContainer(a pod.StartContainer) error {
	i, _ := w.sandbox(a.Sandbox.ID)
	if i >= len(w.have.Sandboxes) || w.have.Sandboxes[i].ID != a.Sandbox.ID || !w.have.Sandboxes[i].Ready {
		return fmt.Errorf("%s starts in %q, which is not ready", a.Name, a.Sandbox.ID)
	}
	for _, c := range w.have.Containers {
		if c.Name == a.Name && (c.State == pod.Running || c.State == pod.Unknown) {
			return fmt.Errorf("%s starts beside %s", a.Name, c.ID)
		}
	}
	d, ok := pod.Find(w.want.Pod, a.Name)
	if !ok {
		return fmt.Errorf("%s is not in the pod", a.Name)
	}
	w.made++
	c := pod.Container{
		ID: fmt.Sprintf("%s-made-%d", a.Name, w.made), Name: a.Name, PodUID: w.want.Pod.UID, SandboxID: a.Sandbox.ID,
		Kind: d.Kind, Index: d.Index, Hash: pod.ContainerHash(w.want.Pod, d.Container), State: pod.Running,
		Attempt: a.Attempt, Backoff: a.Backoff, CreatedAt: w.now, StartedAt: w.now, Grace: pod.Grace(w.want.Pod),
	}
	w.have.Containers = append([]pod.Container{c}, w.have.Containers...)
	return nil
}

func (w *world) container(id, name string) (*pod.Container, error) {
	for i := range w.have.Containers {
		if c := &w.have.Containers[i]; c.ID == id && c.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no container %s %s", name, id)
}

func (w *world) killContainer(a pod.KillContainer) error {
	c, err := w.container(a.ID, a.Name)
	if err != nil {
		return err
	}
	if c.State != pod.Running && c.State != pod.Unknown {
		return fmt.Errorf("%s is killed though it is %s", a.ID, c.State)
	}
	for _, id := range a.After {
		if !slices.ContainsFunc(w.have.Containers, func(c pod.Container) bool { return c.ID == id }) {
			return fmt.Errorf("%s waits for %s, which there is not", a.ID, id)
		}
	}
	w.exit(c, 137)
	return nil
}

func (w *world) removeContainer(a pod.RemoveContainer) error {
	c, err := w.container(a.ID, a.Name)
	if err != nil {
		return err
	}
	if c.State == pod.Running || c.State == pod.Unknown {
		return fmt.Errorf("%s is removed while it runs", a.ID)
	}
	w.have.Containers = slices.DeleteFunc(w.have.Containers, func(c pod.Container) bool { return c.ID == a.ID })
	return nil
}

func (w *world) exit(c *pod.Container, code int32) {
	c.State, c.ExitCode, c.FinishedAt = pod.Exited, code, w.now
}

func (w *world) verdict(id string, v pod.Verdict) {
	probes := map[string]pod.Verdict{id: v}
	for k, old := range w.have.Probes {
		if k != id {
			probes[k] = old
		}
	}
	w.have.Probes = probes
}

// mayStart holds a start against the order of IC-4 to IC-8, told apart from how
// plan tells it: a container may start in a sandbox if everything before it in
// the spec has been passed there, for which the one right before it stands.
func mayStart(p *v1.Pod, a pod.StartContainer, have pod.Observed) error {
	regularIn := func(sandbox string) bool {
		return slices.ContainsFunc(have.Containers, func(c pod.Container) bool {
			return c.SandboxID == sandbox && c.Kind == pod.Regular
		})
	}
	var before *pod.Declared
	for _, d := range pod.Containers(p) {
		switch {
		case d.Kind == pod.Ephemeral && d.Name == a.Name:
			return nil
		case d.Name == a.Name && d.Kind != pod.Regular:
			if _, again := have.Newest(a.Sandbox.ID, d.Name); again || before == nil {
				return nil
			}
		case d.Kind == pod.Init || d.Kind == pod.Sidecar:
			before = &d
			continue
		case d.Name != a.Name:
			continue
		}
		break
	}
	if before == nil || regularIn(a.Sandbox.ID) || laterIn(p, a, have) {
		return nil
	}
	c, _ := have.Newest(a.Sandbox.ID, before.Name)
	completed := before.Kind == pod.Init && c.State == pod.Exited && !c.Failed()
	started := before.Kind == pod.Sidecar && c.State == pod.Running &&
		(before.StartupProbe == nil || have.Probes[c.ID].Started)
	if !completed && !started {
		return fmt.Errorf("%s starts before %s is through", a.Name, before.Name)
	}
	return nil
}

// laterIn reports whether an init container that comes after this one has an
// instance in the sandbox already.
func laterIn(p *v1.Pod, a pod.StartContainer, have pod.Observed) bool {
	behind := false
	for _, c := range p.Spec.InitContainers {
		if _, made := have.Newest(a.Sandbox.ID, c.Name); made && behind {
			return true
		}
		behind = behind || c.Name == a.Name
	}
	return false
}

func uid(n int) types.UID { return types.UID(fmt.Sprint(n)) }
