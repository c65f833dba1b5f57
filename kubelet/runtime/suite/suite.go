// Package suite holds what must be true of kubelet/runtime on any container
// runtime. The same cases run on the fake, so that tests which build on the
// fake build on something true, and on real containerd.
//
// Cases run the commands of the test image, which the fake knows too.
package suite

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// A World is a node with a container runtime, and what a case needs of it.
type World struct {
	Runtime *runtime.Runtime
	Dir     string // scratch on the node
	Image   string // the test image
	// LoseSandbox ends the ready sandbox of a key behind the runtime's back.
	LoseSandbox func(t *testing.T, key pod.Key)
	Events      *Events
}

// A Case is one thing that must be true.
type Case struct {
	Name string
	Run  func(t *testing.T, w *World)
}

// Cases returns all of them. Each makes its own pod and removes it.
func Cases() []Case {
	var all []Case
	for _, cases := range [][]Case{lifeCases(), killCases(), hookCases(), resizeCases(), worldCases()} {
		all = append(all, cases...)
	}
	return all
}

// Events keeps what was recorded on pods.
type Events struct {
	mu  sync.Mutex
	all map[pod.Key][]string
}

// Record is for runtime.Options.
func (e *Events) Record(p *v1.Pod, _, _, reason, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[pod.Key][]string{}
	}
	e.all[pod.KeyOf(p)] = append(e.all[pod.KeyOf(p)], reason)
}

// Of returns the reasons of the events of p.
func (e *Events) Of(p *v1.Pod) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all[pod.KeyOf(p)]
}

// A bench is one pod under test.
type bench struct {
	*testing.T
	w   *World
	pod *v1.Pod
}

// newBench returns a bench whose pod has these containers, with its sandbox
// made. What is left of the pod is removed at the end.
func newBench(t *testing.T, w *World, containers ...v1.Container) *bench {
	b := &bench{T: t, w: w, pod: podOf(w, t.Name(), containers)}
	t.Cleanup(b.removeAll)
	b.do(pod.CreateSandbox{})
	return b
}

func podOf(w *World, test string, containers []v1.Container) *v1.Pod {
	name := "p" + time.Now().UTC().Format("150405.000000000")
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "suite", Name: name, UID: types.UID("uid-" + name),
		Labels:      map[string]string{"app": "suite"},
		Annotations: map[string]string{pod.ConfigSource: pod.SourceFile, pod.ConfigHash: "hash", "test": test},
	}}
	p.Spec.TerminationGracePeriodSeconds = new(int64(7))
	p.Spec.DNSPolicy = v1.DNSDefault
	for _, c := range containers {
		c.Image = w.Image
		if c.TerminationMessagePath == "" {
			c.TerminationMessagePath = v1.TerminationMessagePathDefault
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	return p
}

// running is a container that runs a command of the test image.
func running(name string, args ...string) v1.Container {
	return v1.Container{Name: name, Args: args}
}

// polite is a container that stops when asked to, once it has said a line.
func polite(name string) v1.Container { return running(name, "log", "2", "every", "1h") }

// stubborn is a container whose stop signal does nothing to it.
func stubborn(name string) v1.Container {
	c := running(name, "sleep", "infinity")
	c.Lifecycle = &v1.Lifecycle{StopSignal: new(v1.SIGWINCH)}
	return c
}

// do carries out actions one after the other.
func (b *bench) do(actions ...pod.Action) {
	b.Helper()
	for _, a := range actions {
		if err := b.w.Runtime.Do(b.Context(), b.pod, a); err != nil {
			b.Fatalf("%s: %v", a, err)
		}
	}
}

func (b *bench) look() pod.Observed {
	b.Helper()
	have, err := b.w.Runtime.Observe(b.Context(), pod.KeyOf(b.pod))
	if err != nil {
		b.Fatal(err)
	}
	return have
}

// sandbox returns the pod's newest sandbox.
func (b *bench) sandbox() pod.Sandbox {
	b.Helper()
	s, ok := b.look().Sandbox(b.pod.UID)
	if !ok {
		b.Fatal("the pod has no sandbox")
	}
	return s
}

// start starts the named container and returns what there is of it then.
func (b *bench) start(name string) pod.Container {
	b.Helper()
	b.do(pod.StartContainer{Name: name, Sandbox: b.sandbox()})
	return b.container(name)
}

// startPolite starts a polite container and waits for its line: before that it
// may not be ready for signals.
func (b *bench) startPolite(name string) pod.Container {
	b.Helper()
	c := b.start(name)
	b.await("container "+name+" said a line", func() bool {
		fi, err := os.Stat(c.LogPath)
		return err == nil && fi.Size() > 0
	})
	return c
}

func (b *bench) container(name string) pod.Container {
	b.Helper()
	c, ok := b.look().NewestOf(b.pod.UID, name)
	if !ok {
		b.Fatalf("the pod has no container %s", name)
	}
	return c
}

// exited waits until the named container has exited.
func (b *bench) exited(name string) pod.Container {
	b.Helper()
	var c pod.Container
	b.await("container "+name+" exits", func() bool {
		c = b.container(name)
		return c.State == pod.Exited
	})
	return c
}

// await looks until something is true. Cases are about the runtime, and all it
// offers to wait with is one of the things they test.
func (b *bench) await(what string, ok func() bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			b.Fatalf("waiting until %s: %+v", what, b.look())
		case <-tick.C:
		}
	}
}

// removeAll removes what there is of the pod.
func (b *bench) removeAll() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), time.Minute)
	defer cancel()
	have, err := b.w.Runtime.Observe(ctx, pod.KeyOf(b.pod))
	if err != nil {
		b.Error(err)
	}
	for _, s := range have.Sandboxes {
		for _, a := range []pod.Action{pod.StopSandbox{ID: s.ID}, pod.RemoveSandbox{ID: s.ID}} {
			if err := b.w.Runtime.Do(ctx, nil, a); err != nil {
				b.Errorf("%s: %v", a, err)
			}
		}
	}
}
