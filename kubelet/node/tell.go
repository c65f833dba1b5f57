package node

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// tellReboot records that the machine was started again since its status was
// written last.
func (k *Keeper) tellReboot(before, now string) {
	if before != "" && now != "" && before != now {
		k.o.Event(v1.EventTypeWarning, "Rebooted", fmt.Sprintf("Node %s has been rebooted, boot id: %s", k.o.Name, now))
	}
}
