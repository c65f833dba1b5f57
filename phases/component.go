package phases

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Components looks at the containers of this node's static pods, whether or not
// there is an API server. It is implemented over the container engine.
type Components interface {
	// Look returns every container of the control plane's pods there is, the
	// latest of each.
	Look(ctx context.Context) ([]Component, error)
}

// A Component is one container of the control plane.
type Component struct {
	Pod       string    // name in the manifest: "kube-apiserver"
	PodUID    string    // another one means that the pod was replaced
	PodSince  time.Time // when the pod was first seen to by the engine
	Container string
	State     ContainerState
	ExitCode  int32  // when exited
	Reason    string // why it waits or exited: "ErrImagePull", "Error"
	Restarts  int    // how often it was started again
	Before    int    // how often it was started before the pod came back under its UID, as far as the engine can tell
	StartedAt time.Time
	LogPath   string // on this host, in CRI's format
}

// ContainerState is what a container does.
type ContainerState string

// The states of a container.
const (
	ContainerWaiting ContainerState = "waiting"
	ContainerRunning ContainerState = "running"
	ContainerExited  ContainerState = "exited"
)

// exits counts how often the container has ended.
func (c Component) exits() int {
	if c.State == ContainerExited {
		return c.Restarts + 1
	}
	return c.Restarts
}

// String says what the container does: "exited with code 1 (Error), restarted 2
// times".
func (c Component) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "container %s %s", c.Container, c.doing())
	if c.Reason != "" {
		fmt.Fprintf(&b, " (%s)", c.Reason)
	}
	switch c.Restarts {
	case 0:
	case 1:
		b.WriteString(", restarted once")
	default:
		fmt.Fprintf(&b, ", restarted %d times", c.Restarts)
	}
	return b.String()
}

func (c Component) doing() string {
	switch c.State {
	case ContainerExited:
		return fmt.Sprintf("exited with code %d", c.ExitCode)
	case ContainerRunning:
		return "is running"
	default:
		return "is waiting to start"
	}
}
