package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRI returns a client of the container runtime that listens on a socket of the
// node.
func (n *Node) CRI(t testing.TB, socket string) cri.RuntimeServiceClient {
	t.Helper()
	return cri.NewRuntimeServiceClient(n.connectCRI(t, socket))
}

// Images returns a client of the image service on a socket of the node.
func (n *Node) Images(t testing.TB, socket string) cri.ImageServiceClient {
	t.Helper()
	return cri.NewImageServiceClient(n.connectCRI(t, socket))
}

func (n *Node) connectCRI(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return n.Dial(ctx, "unix", path)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A Container is what a runtime has of one.
type Container struct {
	ID, Pod, Name string
	Sandbox       string // ID
	Attempt       uint32
	PID           int // on the node
}

// Containers returns the containers that run, by namespace/pod/name.
func Containers(ctx context.Context, client cri.RuntimeServiceClient) (map[string]Container, error) {
	list, err := client.ListContainers(ctx, &cri.ListContainersRequest{
		Filter: &cri.ContainerFilter{State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}},
	})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all := make(map[string]Container, len(list.Containers))
	for _, c := range list.Containers {
		got, err := client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: c.Id, Verbose: true})
		if status.Code(err) == codes.NotFound {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("status of container %s: %w", c.Id, err)
		}
		var info struct {
			PID int `json:"pid"`
		}
		if err := json.Unmarshal([]byte(got.Info["info"]), &info); err != nil {
			return nil, fmt.Errorf("status of container %s: %w", c.Id, err)
		}
		pod := c.Labels["io.kubernetes.pod.namespace"] + "/" + c.Labels["io.kubernetes.pod.name"]
		all[pod+"/"+c.Metadata.Name] = Container{ID: c.Id, Sandbox: c.PodSandboxId, Pod: pod, Name: c.Metadata.Name, Attempt: c.Metadata.Attempt, PID: info.PID}
	}
	return all, nil
}
