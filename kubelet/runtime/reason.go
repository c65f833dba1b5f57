package runtime

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
