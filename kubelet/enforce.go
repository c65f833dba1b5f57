package kubelet

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Events of who is held to the share of the node that it has.
const (
	enforced    = "NodeAllocatableEnforced"
	notEnforced = "FailedNodeAllocatableEnforcement"
)

// shareOfPods returns what all pods together may use, nil if they may use more
// than there is.
func (k *kubelet) shareOfPods() v1.ResourceList {
	share, err := k.node.Enforced(slices.Contains(k.o.Config.EnforceNodeAllocatable, "pods"))
	if err != nil { // told at the start already
		k.o.Logger.Debug("look at the machine", slog.Any("err", err))
	}
	return share
}

// enforceInterval is how often it is tried to hold pods to less than they use.
const enforceInterval = time.Minute

// enforce holds pods, and others where that is asked for, to their share of the
// node. Pods that use more than theirs will be evicted, and then it works.
func (k *kubelet) enforce(ctx context.Context) {
	k.enforceReserved()
	for {
		err := k.cgroups.Enforce()
		if err == nil {
			k.events.ofNode(v1.EventTypeNormal, enforced, "Updated Node Allocatable limit across pods")
			return
		}
		k.events.ofNode(v1.EventTypeWarning, notEnforced, fmt.Sprintf("Failed to update Node Allocatable Limits: %v", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(enforceInterval):
		}
	}
}

// enforceReserved holds the services of the host, and Kubernetes's own, to what is
// reserved for them.
func (k *kubelet) enforceReserved() {
	c := k.o.Config
	for _, e := range c.EnforceNodeAllocatable {
		who, compressible := strings.CutSuffix(e, "-compressible")
		group, amounts, name := c.SystemReservedCgroup, c.SystemReserved, "system"
		switch who {
		case "system-reserved":
		case "kube-reserved":
			group, amounts, name = c.KubeReservedCgroup, c.KubeReserved, "kube"
		default:
			continue
		}
		if err := k.cgroups.Reserve(group, quantities(amounts), compressible); err != nil {
			k.events.ofNode(v1.EventTypeWarning, notEnforced, fmt.Sprintf("Failed to enforce %s reserved cgroup limits on %q: %v", name, group, err))
			continue
		}
		k.events.ofNode(v1.EventTypeNormal, enforced, fmt.Sprintf("Updated limits on %s reserved cgroup %v", name, group))
	}
}

// quantities reads amounts, which were validated.
func quantities(texts map[string]string) v1.ResourceList {
	all := v1.ResourceList{}
	for name, text := range texts {
		if q, err := resource.ParseQuantity(text); err == nil {
			all[v1.ResourceName(name)] = q
		}
	}
	return all
}
