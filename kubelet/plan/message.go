package plan

import (
	"strings"

	"boot.internal/kubelet/pod"
)

// Message returns what the event Killing says of a kill, in the words of the
// kubelet: people search for them.
func Message(k pod.KillContainer) string {
	if why, found := strings.CutSuffix(k.Why, "resize requires restart, will be restarted"); found && why == "" {
		return "Container " + k.Name + " resize requires restart"
	}
	for _, fault := range []string{"failed ", "definition changed", "is in "} {
		if strings.HasPrefix(k.Why, fault) {
			return "Container " + k.Name + " " + k.Why
		}
	}
	return "Stopping container " + k.Name
}
