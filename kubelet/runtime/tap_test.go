package runtime_test

import (
	"context"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A tap keeps the requests of CRI that make something.
type tap struct {
	cri.RuntimeServiceClient
	sandboxes  []*cri.RunPodSandboxRequest
	containers []*cri.CreateContainerRequest
}

func (c *tap) RunPodSandbox(ctx context.Context, in *cri.RunPodSandboxRequest, o ...grpc.CallOption) (*cri.RunPodSandboxResponse, error) {
	c.sandboxes = append(c.sandboxes, in)
	return c.RuntimeServiceClient.RunPodSandbox(ctx, in, o...)
}

func (c *tap) CreateContainer(ctx context.Context, in *cri.CreateContainerRequest, o ...grpc.CallOption) (*cri.CreateContainerResponse, error) {
	c.containers = append(c.containers, in)
	return c.RuntimeServiceClient.CreateContainer(ctx, in, o...)
}

// environment returns the variables of the container made last.
func (c *tap) environment() map[string]string {
	all := map[string]string{}
	for _, kv := range c.containers[len(c.containers)-1].Config.Envs {
		all[kv.Key] = string(kv.Value)
	}
	return all
}
