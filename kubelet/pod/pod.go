// Package pod is the vocabulary of the embedded kubelet: how a pod is named and
// identified, what the runtime has of it, what can be done to it, and how both
// are written on CRI objects. It decides identity and nothing else; every other
// package below kubelet speaks in its terms, and it imports none of them.
package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// A Key is a pod's place on the node. At most one pod of a key runs at a time,
// whatever its UID (SP-38).
type Key struct{ Namespace, Name string }

// KeyOf returns the key of p.
func KeyOf(p *v1.Pod) Key { return Key{Namespace: p.Namespace, Name: p.Name} }

// String returns namespace/name.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// A Want is what is desired of one key. Pods in it are shared between
// goroutines and never changed.
type Want struct {
	Pod *v1.Pod
	// Stop, when set, asks for the pod's containers to end while the pod itself
	// stays known: deleted in the API, evicted, past its deadline.
	Stop *Stop
}

// A Stop says since when and how gently a pod is to end.
type Stop struct {
	Since   time.Time
	Grace   time.Duration // may only shrink (SP-44)
	Reason  string        // status reason of a pod that fails by it, "" for an ordinary deletion
	Message string
	// Fails is set where the pod is Failed even if all its containers end well: of
	// a pod that makes room for a critical one upstream has it otherwise.
	Fails bool
	// Disruption is the message of the condition DisruptionTarget (KEP-3329), ""
	// where the pod gets none.
	Disruption string
}

// End returns when the last of the pod is to be killed.
func (s Stop) End() time.Time { return s.Since.Add(s.Grace) }

// A Kind tells which list of the pod a container is from.
type Kind string

// Containers of a pod are of one of these kinds.
const (
	Init      Kind = "init"      // runs to completion before the next starts
	Sidecar   Kind = "sidecar"   // an init container with restartPolicy Always (IC-1)
	Regular   Kind = "regular"   // spec.containers
	Ephemeral Kind = "ephemeral" // spec.ephemeralContainers
)

// A Declared is one container of a pod with what it counts as.
type Declared struct {
	*v1.Container
	Kind  Kind
	Index int // within its own list of the pod
}

// Containers returns all containers of p: init containers and sidecars in
// order, then regular ones, then ephemeral ones.
func Containers(p *v1.Pod) []Declared {
	var all []Declared
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		kind := Init
		if IsSidecar(c) {
			kind = Sidecar
		}
		all = append(all, Declared{Container: c, Kind: kind, Index: i})
	}
	for i := range p.Spec.Containers {
		all = append(all, Declared{Container: &p.Spec.Containers[i], Kind: Regular, Index: i})
	}
	for i := range p.Spec.EphemeralContainers {
		c := v1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		all = append(all, Declared{Container: &c, Kind: Ephemeral, Index: i})
	}
	return all
}

// Find returns the container of p with the name, of whatever kind.
func Find(p *v1.Pod, name string) (Declared, bool) {
	for _, d := range Containers(p) {
		if d.Name == name {
			return d, true
		}
	}
	return Declared{}, false
}

// FieldPath returns where in p the container with the name is, as events refer to
// it: "spec.containers{web}". It is "" where p has none of that name.
func FieldPath(p *v1.Pod, name string) string {
	d, ok := Find(p, name)
	if !ok {
		return ""
	}
	list := map[Kind]string{Init: "initContainers", Sidecar: "initContainers", Regular: "containers", Ephemeral: "ephemeralContainers"}
	return "spec." + list[d.Kind] + "{" + name + "}"
}

// IsSidecar reports whether an init container is a sidecar (IC-1).
func IsSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// IsReady says whether a status has the condition Ready.
func IsReady(s v1.PodStatus) bool {
	for _, c := range s.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// IsHostNetwork reports whether p shares the network namespace of the node.
func IsHostNetwork(p *v1.Pod) bool { return p.Spec.HostNetwork }

// IsStatic reports whether p comes from a file or a URL and not from the API.
func IsStatic(p *v1.Pod) bool {
	source, ok := p.Annotations[ConfigSource]
	return ok && source != SourceAPI
}

// IsMirror reports whether p is the API's picture of a static pod.
func IsMirror(p *v1.Pod) bool {
	_, ok := p.Annotations[ConfigMirror]
	return ok
}

// Grace returns how long the containers of p may take to stop.
func Grace(p *v1.Pod) time.Duration {
	if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(max(*s, 0)) * time.Second
	}
	return v1.DefaultTerminationGracePeriodSeconds * time.Second
}
