package fake

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Exit makes the newest running instance of the named container exit by itself,
// and reports whether there was one.
func (c *CRI) Exit(name string, code int32) bool { return c.exitNewest(name, code, "") }

// OOM makes the kernel kill it for memory.
func (c *CRI) OOM(name string) bool { return c.exitNewest(name, killed, "OOMKilled") }

func (c *CRI) exitNewest(name string, code int32, reason string) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for i := len(c.s.containers) - 1; i >= 0; i-- {
		if have := c.s.containers[i]; have.config.Metadata.Name == name && have.state == cri.ContainerState_CONTAINER_RUNNING {
			c.s.exit(have, code, reason)
			return true
		}
	}
	return false
}

// LoseSandbox makes all ready sandboxes of a pod end without a word of anyone,
// as when their pause process is killed.
func (c *CRI) LoseSandbox(namespace, name string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, b := range c.s.sandboxes {
		if m := b.config.Metadata; m.Namespace == namespace && m.Name == name {
			c.s.end(b)
		}
	}
}

// Reboot ends everything that runs, and sends no events.
func (c *CRI) Reboot() {
	c.BreakEvents()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, b := range c.s.sandboxes {
		c.s.end(b)
	}
}

// Unknown makes the runtime lose track of the named container: it still runs.
func (c *CRI) Unknown(name string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, have := range c.s.containers {
		if have.config.Metadata.Name == name && have.state == cri.ContainerState_CONTAINER_RUNNING {
			have.state = cri.ContainerState_CONTAINER_UNKNOWN
		}
	}
}

// SetNetwork makes the network of pods ready or not.
func (c *CRI) SetNetwork(up bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.networkUp = up
}

// Running returns the names of the containers that run, oldest first.
func (c *CRI) Running() []string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	var names []string
	for _, have := range c.s.containers {
		if have.state == cri.ContainerState_CONTAINER_RUNNING {
			names = append(names, have.config.Metadata.Name)
		}
	}
	return names
}

// Status tells how the runtime is doing.
func (s *server) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	network := &cri.RuntimeCondition{Type: cri.NetworkReady, Status: s.networkUp}
	if !s.networkUp {
		network.Reason, network.Message = "NetworkPluginNotReady", "the network is down"
	}
	return &cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
			{Type: cri.RuntimeReady, Status: true}, network,
		}},
		RuntimeHandlers: []*cri.RuntimeHandler{{Features: &cri.RuntimeHandlerFeatures{RecursiveReadOnlyMounts: true}}},
		Features:        &cri.RuntimeFeatures{SupplementalGroupsPolicy: true},
	}, nil
}

// Version tells what the runtime is.
func (s *server) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeName: "fake", RuntimeVersion: "1.0", RuntimeApiVersion: "v1"}, nil
}

// RuntimeConfig tells the cgroup driver.
func (s *server) RuntimeConfig(context.Context, *cri.RuntimeConfigRequest) (*cri.RuntimeConfigResponse, error) {
	return &cri.RuntimeConfigResponse{Linux: &cri.LinuxRuntimeConfiguration{CgroupDriver: cri.CgroupDriver_CGROUPFS}}, nil
}
