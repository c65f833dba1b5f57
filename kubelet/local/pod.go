package local

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A PodState sums up how a pod is.
type PodState string

// The states of a pod; the zero PodState is none.
const (
	Running   PodState = "running"   // all of it that should run does, and is ready
	Unready   PodState = "unready"   // it runs, and a probe says that it is not ready
	Starting  PodState = "starting"  // not all of it has started yet
	Crashing  PodState = "crashing"  // a container ends again and again
	Stuck     PodState = "stuck"     // a container cannot be made, say for want of its image
	Ending    PodState = "ending"    // nothing wants it any more
	Rejected  PodState = "rejected"  // the node does not take it
	Succeeded PodState = "succeeded" // it has ended, and well
	Failed    PodState = "failed"    // it has ended, and not well
)

// Well says whether there is nothing to worry about.
func (s PodState) Well() bool {
	switch s {
	case Running, Succeeded, Starting, Ending:
		return true
	default:
		return false
	}
}

// A Pod is one that the node runs or is to run.
type Pod struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	UID       string   `json:"uid"` // of a static pod, the hash of its manifest
	Source    string   `json:"source"`
	Static    bool     `json:"static,omitempty"`
	State     PodState `json:"state"`
	Ready     bool     `json:"ready"`
	Restarts  int      `json:"restarts"` // of all containers
	// Since is when the state began, as far as that is known: of a pod that runs,
	// when its last container was started.
	Since      time.Time   `json:"since,omitzero"`
	Created    time.Time   `json:"created,omitzero"` // when the node first saw it
	Failure    *Failure    `json:"failure,omitempty"`
	Containers []Container `json:"containers"`
}

// Key is the pod's "namespace/name".
func (p Pod) Key() string { return p.Namespace + "/" + p.Name }

// A Failure is the last thing that went wrong with a pod, in words.
type Failure struct {
	Text      string    `json:"text"`
	Container string    `json:"container,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

// A Container is one of a pod, init containers first.
type Container struct {
	Name     string    `json:"name"`
	Image    string    `json:"image"`
	ID       string    `json:"id,omitempty"`
	State    string    `json:"state"` // waiting, running or terminated
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	Ready    bool      `json:"ready"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since,omitzero"`
	ExitCode int       `json:"exitCode,omitempty"` // of the last instance that ended
	LogDir   string    `json:"logDir,omitempty"`   // of all instances, on this host
}

// PodOf words the status of a pod. The complaint is the last thing that an event
// warned of; it counts while the containers themselves
// have nothing to say.
func PodOf(p *v1.Pod, s v1.PodStatus, complaint *Failure) Pod {
	out := Pod{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Source: source(p), Static: pod.IsStatic(p),
		Ready: pod.IsReady(s), Containers: []Container{},
	}
	if s.StartTime != nil {
		out.Created = s.StartTime.Time
	}
	var all []v1.ContainerStatus
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range list {
			all = append(all, c)
			out.Containers = append(out.Containers, containerOf(c))
			out.Restarts += int(c.RestartCount)
		}
	}
	out.State = stateOf(s, all, out.Ready)
	out.Since = since(out, all)
	out.Failure = failureOf(s, all)
	if out.State == Unready || out.State == Starting {
		out.Failure = later(out.Failure, complaint)
	}
	return out
}

func source(p *v1.Pod) string {
	if from := p.Annotations[pod.ConfigSource]; from != "" {
		return from
	}
	return pod.SourceAPI
}

func containerOf(c v1.ContainerStatus) Container {
	out := Container{
		Name: c.Name, Image: c.Image, ID: c.ContainerID, Ready: c.Ready, Restarts: int(c.RestartCount), State: "waiting",
	}
	if t := c.LastTerminationState.Terminated; t != nil {
		out.ExitCode = int(t.ExitCode)
	}
	switch {
	case c.State.Running != nil:
		out.State, out.Since = "running", c.State.Running.StartedAt.Time
	case c.State.Terminated != nil:
		t := c.State.Terminated
		out.State, out.Since = "terminated", t.FinishedAt.Time
		out.Reason, out.Message, out.ExitCode = t.Reason, t.Message, int(t.ExitCode)
	case c.State.Waiting != nil:
		out.Reason, out.Message = c.State.Waiting.Reason, c.State.Waiting.Message
	}
	return out
}

// stateOf sums up; the worst of the containers counts.
func stateOf(s v1.PodStatus, all []v1.ContainerStatus, ready bool) PodState {
	switch {
	case s.Phase == v1.PodSucceeded:
		return Succeeded
	case s.Phase == v1.PodFailed && len(all) == 0:
		return Rejected
	case s.Phase == v1.PodFailed:
		return Failed
	}
	state := Running
	for _, c := range all {
		switch {
		case crashes(c):
			return Crashing
		case stuck(c):
			state = Stuck
		case starts(c) && state == Running:
			state = Starting
		}
	}
	switch {
	case len(all) == 0:
		return Starting
	case state == Running && !ready:
		return Unready
	}
	return state
}

// crashes says whether a container has ended badly and is to start again.
func crashes(c v1.ContainerStatus) bool {
	if w := c.State.Waiting; w != nil {
		return w.Reason == "CrashLoopBackOff"
	}
	t := c.State.Terminated
	return t != nil && t.ExitCode != 0
}

// stuck says whether something keeps a container from being made.
func stuck(c v1.ContainerStatus) bool {
	w := c.State.Waiting
	return w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" && w.Reason != "CrashLoopBackOff"
}

func starts(c v1.ContainerStatus) bool {
	if c.State.Waiting != nil {
		return true
	}
	return c.State.Running != nil && c.Started != nil && !*c.Started
}

// since is when the last container came to be as it is.
func since(p Pod, all []v1.ContainerStatus) time.Time {
	last := time.Time{}
	for i, c := range p.Containers {
		at := c.Since
		if t := all[i].LastTerminationState.Terminated; c.State == "waiting" && t != nil {
			at = t.FinishedAt.Time
		}
		if at.After(last) && (c.State != "terminated" || p.State != Running) {
			last = at
		}
	}
	if last.IsZero() {
		return p.Created
	}
	return last
}

// failureOf returns what the status says is wrong, or else went wrong last.
func failureOf(s v1.PodStatus, all []v1.ContainerStatus) *Failure {
	for _, c := range all {
		if w := c.State.Waiting; stuck(c) {
			return &Failure{Text: w.Reason + ": " + w.Message, Container: c.Name}
		}
	}
	var last *Failure
	if s.Phase == v1.PodFailed && s.Message != "" {
		last = &Failure{Text: s.Reason + ": " + s.Message}
	}
	for _, c := range all {
		for _, t := range []*v1.ContainerStateTerminated{c.LastTerminationState.Terminated, c.State.Terminated} {
			if t != nil && (t.ExitCode != 0 || t.Signal != 0) {
				last = later(last, &Failure{Text: ended(t), Container: c.Name, At: t.FinishedAt.Time})
			}
		}
	}
	return last
}

// ended says how a container ended: "exit code 137 (OOMKilled)".
func ended(t *v1.ContainerStateTerminated) string {
	text := fmt.Sprintf("exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" {
		text += " (" + t.Reason + ")"
	}
	if t.Message != "" {
		text += ": " + t.Message
	}
	return text
}

// later returns the one of two failures that came last.
func later(a, b *Failure) *Failure {
	if a == nil || b != nil && b.At.After(a.At) {
		return b
	}
	return a
}
