package phases

import (
	"context"

	"boot.internal/etcd"
)

// Health finds what is not well in a cluster and would be worse with one control
// plane less. While a run is gone on with, that may be its own doing.
func (s Survey) Health(ctx context.Context, members *etcd.Cluster, resumed bool) []Finding {
	var all []Finding
	for _, node := range s.NotReady {
		all = append(all, found("ControlPlaneNodesReady", "see 'kubectl describe node "+node+"'", "control plane %s is not Ready", node)...)
	}
	all = append(all, etcdHealthy(ctx, members)...)
	for i := range all {
		all[i].Warning = all[i].Warning || resumed
	}
	if s.Rotating { // manifests are not what an upgrade would make of them until that has ended
		all = append(all, found("CARotation", "'boot certs rotate-ca' goes on with it: upgrade after that",
			"the authorities of the cluster are being rotated")...)
	}
	return all
}

// etcdHealthy finds the members of etcd that are not well. Nil stands for an etcd
// that is somebody else's.
func etcdHealthy(ctx context.Context, c *etcd.Cluster) []Finding {
	if c == nil {
		return nil
	}
	const advice = "see 'boot etcd members'"
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	members, err := c.Members(ctx)
	if err != nil {
		return found("EtcdHealth", advice, "etcd does not tell its members: %v", err)
	}
	var all []Finding
	for _, s := range c.Statuses(ctx, members) {
		if s.Err != nil {
			all = append(all, found("EtcdHealth", advice, "%s of etcd is not well: %v", s.Member, s.Err)...)
		}
	}
	return all
}
