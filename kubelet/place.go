package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/cpus"
	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem"
	"boot.internal/kubelet/pod"
)

// An owner has CPUs or memory and gives them to pods for themselves.
type owner interface {
	numa.Provider
	// Keep takes back what all pods have but these.
	Keep(keep map[types.UID]bool)
}

// places are the parts that give pods what lies near to each other. There are none
// unless a policy says so.
type places struct {
	machine *numa.Machine
	placer  *numa.Placer
	owners  []owner       // of CPUs, then of memory
	cpus    *cpus.Pool    // nil unless configured
	memory  *numamem.Bank // nil unless configured
	sharing chan struct{} // capacity 1: others share CPUs than before
}

// newPlaces looks at the machine and makes who gives what of it to pods, where that
// is configured.
func (k *kubelet) newPlaces() error {
	c := k.o.Config
	if err := errors.Join(k.checkCPUs(), k.checkMemory()); err != nil || !placed(c) {
		return err
	}
	o, err := k.placement()
	if err != nil {
		return err
	}
	m, err := numa.Discover(os.DirFS("/sys"))
	if err != nil {
		return fmt.Errorf("look at CPUs and NUMA nodes: %w", err)
	}
	placer, err := numa.New(o, m)
	if err != nil {
		return fmt.Errorf("topology manager policy %s: %w", o.Policy, err)
	}
	k.places = &places{machine: m, placer: placer}
	if err := k.newCPUs(); err != nil {
		return err
	}
	return k.newMemory()
}

// placed reports whether anything is given to pods by where it lies.
func placed(c *kubeletv1beta1.KubeletConfiguration) bool {
	near := numa.Policy(c.TopologyManagerPolicy)
	return near != "" && near != numa.None || c.CPUManagerPolicy == cpus.Static || c.MemoryManagerPolicy == kubeletv1beta1.StaticMemoryManagerPolicy
}

// placement reads the policy that is configured.
func (k *kubelet) placement() (numa.Options, error) {
	c := k.o.Config
	o := numa.Options{Policy: numa.Policy(c.TopologyManagerPolicy), Scope: numa.Scope(c.TopologyManagerScope)}
	if o.Policy == "" {
		o.Policy = numa.None
	}
	if o.Policy == numa.None {
		return o, nil
	}
	o.Aligned = k.metrics.places.alignment(o.Scope)
	return o, o.Parse(c.TopologyManagerPolicyOptions)
}

// place gives a pod its devices, and its CPUs and memory where it is to have them for
// itself.
func (k *kubelet) place(ctx context.Context, p *v1.Pod) error {
	since := time.Now()
	err := k.takePlace(ctx, p)
	k.metrics.places.admitted(time.Since(since))
	return err
}

func (k *kubelet) takePlace(ctx context.Context, p *v1.Pod) error {
	if k.places == nil {
		return k.devices.Allocate(ctx, p)
	}
	k.keepPlaces(p)
	all := append([]numa.Provider{k.devices.For(ctx, k.places.machine.All())}, k.places.providers()...)
	err := k.places.placer.Place(p, all...)
	if err != nil && k.places.placer.Asks() {
		k.metrics.places.errors.Inc()
	}
	return err
}

// placeRunning gives a pod that ran before this process came CPUs and memory for itself,
// where it is to have them and has none: they may not have been given then. It runs on
// without if there are not enough, for it was admitted.
func (k *kubelet) placeRunning(p *v1.Pod) {
	if k.places == nil {
		return
	}
	if err := k.places.placer.Place(p, k.places.providers()...); err != nil {
		k.o.Logger.Warn("a pod that runs gets no CPUs or memory for itself",
			slog.String("pod", pod.KeyOf(p).String()), slog.Any("err", err))
	}
}

// keepPlaces has the owners take back what pods have that nobody wants any more, before
// another is placed. One that the API has forgotten may still be ending: the scheduler
// has given its place away by now.
func (k *kubelet) keepPlaces(next *v1.Pod) {
	k.mu.Lock()
	keep := map[types.UID]bool{next.UID: true}
	for _, list := range [][]*v1.Pod{k.now, k.heard} {
		for _, p := range list {
			keep[p.UID] = true
		}
	}
	for _, p := range k.going {
		keep[p.UID] = keep[p.UID] || pod.IsStatic(p)
	}
	known := k.said
	k.mu.Unlock()
	if known {
		k.places.keep(keep)
	}
}

// refusal returns how the kubelet calls that a pod gets nothing here, and says why.
func refusal(err error) (reason string, why error) {
	if r := (*numa.Refusal)(nil); errors.As(err, &r) {
		return r.Reason, r.Err
	}
	return "UnexpectedAdmissionError", fmt.Errorf("Allocate failed due to %w, which is unexpected", err)
}

// equip has a container about to be made keep to what it has for itself.
func (p *places) equip(of *v1.Pod, container string, c *cri.ContainerConfig) {
	if p != nil && p.memory != nil {
		p.memory.Equip(of, container, c)
	}
}

// providers returns the owners as those that give things to pods.
func (p *places) providers() []numa.Provider {
	var all []numa.Provider
	for _, o := range p.owners {
		all = append(all, o)
	}
	return all
}

// forget has the owners take back what a pod has.
func (p *places) forget(uid types.UID) {
	if p == nil {
		return
	}
	for _, o := range p.owners {
		o.Forget(uid)
	}
}

// keep has the owners take back what all pods have but these.
func (p *places) keep(keep map[types.UID]bool) {
	if p == nil {
		return
	}
	for _, o := range p.owners {
		o.Keep(keep)
	}
}
