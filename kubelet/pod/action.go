package pod

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// An Action is one thing to do to a pod. It prints itself in the words of the
// log: "kill etcd (spec changed, grace 10s)".
type Action interface {
	fmt.Stringer
	// Target names what the action works on, for errors and back-off: a
	// container's name, or "" for the sandbox.
	Target() string
}

// The actions there are.
type (
	// CreateSandbox makes the pod's volumes, cgroup and sandbox.
	CreateSandbox struct {
		Attempt uint32
	}
	// StopSandbox ends a sandbox's processes and takes its network down.
	StopSandbox struct {
		ID  string
		UID types.UID
		Why string
	}
	// RemoveSandbox removes a stopped sandbox and all containers in it.
	RemoveSandbox struct {
		ID  string
		UID types.UID
	}
	// StartContainer pulls the image if need be, creates and starts an
	// instance and waits for its postStart hook (IC-4).
	StartContainer struct {
		Name    string
		Sandbox Sandbox // as it was seen when this was planned: it does not change any more
		Attempt uint32
		Backoff time.Duration // see Container.Backoff
		Why     string        // "" for the first start
	}
	// KillContainer runs the preStop hook if there is one and it is asked for,
	// sends the stop signal, and kills when the rest of the grace is used up.
	KillContainer struct {
		Name, ID string
		Why      string
		Grace    time.Duration // hook and stop together; the stop gets 2 s at least
		Hook     bool          // run preStop
		// After names the containers (by ID) that must have exited before the
		// stop signal is sent, though not before the hook runs (IC-32, IC-33).
		// Waiting for them uses up Grace (IC-34).
		After []string
	}
	// Resize gives running containers, and the pod's cgroup around them, the
	// resources that the pod was allocated since they were started (KEP-1287).
	Resize struct {
		Containers []Instance // those whose memory shrinks first
	}
	// RemoveContainer removes an instance that does not run.
	RemoveContainer struct {
		Name, ID string
	}
)

// An Instance is one instance of a container, by its name and CRI ID.
type Instance struct{ Name, ID string }

// ResizeTarget is the target of Resize. No container can have that name.
const ResizeTarget = "pod resize"

// Target returns ResizeTarget.
func (Resize) Target() string { return ResizeTarget }

// Target returns "", the sandbox.
func (CreateSandbox) Target() string { return "" }

// Target returns "", the sandbox.
func (StopSandbox) Target() string { return "" }

// Target returns "", the sandbox.
func (RemoveSandbox) Target() string { return "" }

// Target returns the container's name.
func (a StartContainer) Target() string { return a.Name }

// Target returns the container's name.
func (a KillContainer) Target() string { return a.Name }

// Target returns the container's name.
func (a RemoveContainer) Target() string { return a.Name }

func (a CreateSandbox) String() string {
	if a.Attempt == 0 {
		return "create sandbox"
	}
	return fmt.Sprintf("create sandbox (attempt %d)", a.Attempt)
}

func (a StopSandbox) String() string   { return fmt.Sprintf("stop sandbox %s (%s)", a.ID, a.Why) }
func (a RemoveSandbox) String() string { return "remove sandbox " + a.ID }

func (a StartContainer) String() string {
	if a.Why == "" {
		return "start " + a.Name
	}
	return fmt.Sprintf("start %s (%s, attempt %d)", a.Name, a.Why, a.Attempt)
}

func (a KillContainer) String() string {
	after := ""
	if len(a.After) > 0 {
		after = fmt.Sprintf(", after %v", a.After)
	}
	return fmt.Sprintf("kill %s (%s, grace %s%s)", a.Name, a.Why, a.Grace, after)
}

func (a Resize) String() string {
	words := []string{"resize pod"}
	for _, c := range a.Containers {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

func (a RemoveContainer) String() string { return fmt.Sprintf("remove %s %s", a.Name, a.ID) }

// An ActionError says why an action failed in the words of a container status.
type ActionError struct {
	Reason string        // waiting reason: "ImagePullBackOff", "CreateContainerConfigError", …
	Retry  time.Duration // not to be tried again within; 0 leaves it to the worker's own back-off
	Err    error
}

func (e *ActionError) Error() string { return e.Err.Error() }

func (e *ActionError) Unwrap() error { return e.Err }
