package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Observed is everything there is of one key now, of whatever UID: what the
// runtime says, and beside it what the worker and the prober remember.
type Observed struct {
	Sandboxes  []Sandbox   // newest first
	Containers []Container // newest first

	// Stopping is when tear-down of the pod began; zero while it is to run.
	// Owned by the worker, which clears it once nothing is left.
	Stopping time.Time
	// Probes holds the last verdicts, by container ID. Owned by the prober. A
	// container without a verdict has no probes or was not probed yet.
	Probes map[string]Verdict
	// Applied holds the resources that running containers were given last, by
	// container name; "" is the pod itself. What is missing is as it should be.
	// Owned by package resize.
	Applied map[string]v1.ResourceRequirements
	// Devices says how the devices of containers are, by container name. Owned by
	// package device.
	Devices map[string][]v1.ResourceStatus
	// Failures holds the last action that failed and has not succeeded since,
	// by container name; "" is the sandbox. Owned by the worker.
	Failures map[string]Failure
}

// A Sandbox is one pod sandbox as CRI reports it.
type Sandbox struct {
	ID          string
	UID         types.UID
	Attempt     uint32
	Ready       bool
	HostNetwork bool
	CreatedAt   time.Time
	IPs         []string // none on the host network
	// Source and Hash are the pod's config.source and config.hash annotations.
	Source, Hash string
	RuntimeClass string // CRI runtime handler
}

// A State is where in its life a container is.
type State string

// Containers are in one of the states of CRI.
const (
	Created State = "created"
	Running State = "running"
	Exited  State = "exited"
	Unknown State = "unknown"
)

// A Container is one instance of a container as CRI reports it, completed by
// the annotations that were written when it was made.
type Container struct {
	ID        string
	Name      string
	PodUID    types.UID
	SandboxID string
	Kind      Kind
	Index     int    // within its list of the pod
	Hash      string // ContainerHash of the spec it was made from

	State      State
	Attempt    uint32 // CRI attempt, which is the restart count
	CreatedAt  time.Time
	StartedAt  time.Time // zero unless it ran
	FinishedAt time.Time // zero unless it exited
	ExitCode   int32
	Signal     int32
	Reason     string // "Completed", "Error", "OOMKilled", …
	Message    string // the termination message

	Image    string // as the user wrote it
	ImageID  string // status.imageID: digest reference, else the image's ID
	ImageRef string // the runtime's own ID of the image

	// Backoff is how long to wait after this instance ended before the next
	// one starts. It is fixed when the instance is made: none for the first,
	// 10 s for the second, then doubling (IC-20).
	Backoff time.Duration

	// Grace and PreStop are those of the pod it was made from, so that it can
	// be stopped well when that pod is no longer known.
	Grace   time.Duration
	PreStop *v1.LifecycleHandler

	Mounts    []Mount // those that the runtime has something to say of
	LogPath   string  // absolute
	User      *v1.ContainerUser
	Resources *v1.ResourceRequirements // as the runtime reports them, nil if it does not
}

// A Mount is a volume of a container as the runtime has mounted it.
type Mount struct {
	Path              string // in the container
	RecursiveReadOnly bool   // with all that is mounted below it
	Image             string // the image it shows, "" for none
}

// Failed reports whether an exited container failed. The kernel killing it for
// memory is a failure whatever the exit code (IC-12).
func (c Container) Failed() bool {
	return c.State == Exited && (c.ExitCode != 0 || c.Reason == "OOMKilled")
}

// A Verdict is what the probes of one container say now.
type Verdict struct {
	Started bool // the startup probe succeeded, or there is none
	Ready   bool // the readiness probe succeeds, or there is none; false until Started
	// Unasked is set while Ready is no answer: the container has started, and its
	// readiness probe has not come to a result yet.
	Unasked bool
	// Unhealthy is set once liveness or startup failed for good: the container
	// is to be killed.
	Unhealthy *Unhealthy
}

// Unhealthy says which probe asks for a container to be killed, and how.
type Unhealthy struct {
	Probe   string         // "liveness" or "startup"
	Message string         // the last output of the probe
	Grace   *time.Duration // the probe's own terminationGracePeriodSeconds
}

// A Failure is the last action on a container or sandbox that failed.
type Failure struct {
	Reason  string    // waiting reason: "ErrImagePull", "CreateContainerError", …
	Message string    // what the user reads in the status
	At      time.Time // when it failed
	Retry   time.Time // not to be tried again before
	Count   int       // failures in a row
}

// Sandbox returns the newest sandbox of uid.
func (o Observed) Sandbox(uid types.UID) (Sandbox, bool) {
	for _, s := range o.Sandboxes {
		if s.UID == uid {
			return s, true
		}
	}
	return Sandbox{}, false
}

// State returns the state of a sandbox as if it were a container.
func (s Sandbox) State() State {
	if s.Ready {
		return Running
	}
	return Exited
}

// States returns the states of all sandboxes and containers, by their IDs.
func (o Observed) States() map[string]State {
	all := make(map[string]State, len(o.Sandboxes)+len(o.Containers))
	for _, s := range o.Sandboxes {
		all[s.ID] = s.State()
	}
	for _, c := range o.Containers {
		all[c.ID] = c.State
	}
	return all
}

// Newest returns the newest instance of the named container within a sandbox.
func (o Observed) Newest(sandboxID, name string) (Container, bool) {
	for _, c := range o.Containers {
		if c.SandboxID == sandboxID && c.Name == name {
			return c, true
		}
	}
	return Container{}, false
}

// NewestOf returns the newest instance of the named container of a pod, in
// whatever sandbox.
func (o Observed) NewestOf(uid types.UID, name string) (Container, bool) {
	for _, c := range o.Containers {
		if c.PodUID == uid && c.Name == name {
			return c, true
		}
	}
	return Container{}, false
}
