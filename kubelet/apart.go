package kubelet

import (
	"fmt"

	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

// apart are clients that share no limit with others: however much there is to
// tell of pods, the node is heard of in time, and however many events there are,
// they hold nothing up.
type apart struct {
	core   *typedv1.CoreV1Client
	leases *coordinationv1.CoordinationV1Client
	events *typedv1.CoreV1Client
}

// CoreV1 implements node.API.
func (a apart) CoreV1() typedv1.CoreV1Interface { return a.core }

// CoordinationV1 implements node.API.
func (a apart) CoordinationV1() coordinationv1.CoordinationV1Interface { return a.leases }

// connectApart makes the clients once there is an API server.
func (k *kubelet) connectApart() (a apart, err error) {
	own := k.identity.client.Load().Config
	free := limited(own, -1, 0)
	if a.core, err = typedv1.NewForConfig(free); err != nil {
		return a, fmt.Errorf("make client of the node: %w", err)
	}
	if a.leases, err = coordinationv1.NewForConfig(free); err != nil {
		return a, fmt.Errorf("make client of the lease: %w", err)
	}
	qps := float32(ptr.Deref(k.o.Config.EventRecordQPS, 0))
	if qps == 0 { // no limit, as the configuration says
		qps = -1
	}
	if a.events, err = typedv1.NewForConfig(limited(own, qps, int(k.o.Config.EventBurst))); err != nil {
		return a, fmt.Errorf("make client for events: %w", err)
	}
	return a, nil
}

// limited returns a configuration with limits of its own.
func limited(of *rest.Config, qps float32, burst int) *rest.Config {
	c := rest.CopyConfig(of)
	c.QPS, c.Burst, c.RateLimiter = qps, burst, nil
	return c
}
