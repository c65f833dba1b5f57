package runtime

import (
	"errors"

	"google.golang.org/grpc/status"
)

// Reasons of failed actions, as upstream spells them in the waiting state of a
// container.
const (
	reasonMount           = "FailedMount"
	reasonCreateSandbox   = "FailedCreatePodSandBox"
	reasonKillSandbox     = "KillPodSandboxError"
	reasonImagePull       = "ErrImagePull"
	reasonContainerConfig = "CreateContainerConfigError"
	reasonCreateContainer = "CreateContainerError"
	reasonRunContainer    = "RunContainerError"
	reasonPostStart       = "PostStartHookError"
	reasonKillContainer   = "KillContainerError"
	reasonRemoveContainer = "RemoveContainerError"
)

// Reasons of events, as upstream spells them.
const (
	eventCreated         = "Created"
	eventStarted         = "Started"
	eventKilling         = "Killing"
	eventFailed          = "Failed"
	eventFailedKillPod   = "FailedKillPod"
	eventFailedPostStart = "FailedPostStartHook"
	eventFailedPreStop   = "FailedPreStopHook"
)

// eventReason returns the reason of the event that tells of a failed action.
func eventReason(reason string) string {
	switch reason {
	case reasonMount, reasonCreateSandbox:
		return reason
	case reasonKillSandbox, reasonKillContainer:
		return eventFailedKillPod
	case reasonPostStart:
		return eventFailedPostStart
	default:
		return eventFailed
	}
}

// eventMessage returns what that event says, in the words of upstream.
func eventMessage(reason string, err error) string {
	switch reason {
	case reasonCreateSandbox:
		return "Failed to create pod sandbox: " + err.Error()
	case reasonContainerConfig, reasonCreateContainer, reasonRunContainer:
		return "Error: " + err.Error()
	default:
		return err.Error()
	}
}

// plain returns what the runtime says, without the words of its protocol: it is
// for people to read in the status of a container.
func plain(err error) error {
	if s, ok := status.FromError(err); ok {
		return errors.New(s.Message())
	}
	return err
}
