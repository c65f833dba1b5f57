package kubelet

import (
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/userns"
)

// withUsers completes the options of the runtime with the users that pods may
// have for themselves.
func (k *kubelet) withUsers(o runtime.Options) runtime.Options {
	c := k.o.Config
	ranges := userns.Options{PodsDir: k.podsDir(), MaxPods: int64(c.MaxPods)}
	if u := c.UserNamespaces; u != nil && u.IDsPerPod != nil {
		ranges.IDsPerPod = *u.IDsPerPod
	}
	k.users = userns.New(ranges)
	o.Users = k.users
	return o
}
