package e2e

import (
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A bare pod is one container in a sandbox, made by nothing but CRI calls. It
// has none of the kubelet's labels, so boot leaves it alone.
type bare struct {
	engine             cri.RuntimeServiceClient
	config             *cri.PodSandboxConfig
	sandbox, container string
}

func newBare(engine cri.RuntimeServiceClient, name string) *bare {
	return &bare{engine: engine, config: &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Namespace: "bare", Name: name, Uid: name},
		LogDirectory: "/var/log/bare/" + name,
		Linux:        &cri.LinuxPodSandboxConfig{CgroupParent: "/bare/" + name, SecurityContext: &cri.LinuxSandboxSecurityContext{}},
	}}
}

// run makes sandbox and container and returns when the container started.
func (p *bare) run(b *testing.B) (time.Time, error) {
	s, err := p.engine.RunPodSandbox(b.Context(), &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		return time.Time{}, err
	}
	p.sandbox = s.PodSandboxId
	return p.start(b, 0)
}

// start makes and starts a container in the sandbox.
func (p *bare) start(b *testing.B, attempt uint32) (time.Time, error) {
	c, err := p.engine.CreateContainer(b.Context(), &cri.CreateContainerRequest{
		PodSandboxId: p.sandbox, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "c", Attempt: attempt},
			Image:    &cri.ImageSpec{Image: testImage}, Args: []string{"sleep", "infinity"}, LogPath: "c.log",
			Linux: &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		return time.Time{}, err
	}
	p.container = c.ContainerId
	if _, err := p.engine.StartContainer(b.Context(), &cri.StartContainerRequest{ContainerId: p.container}); err != nil {
		return time.Time{}, err
	}
	status, err := p.engine.ContainerStatus(b.Context(), &cri.ContainerStatusRequest{ContainerId: p.container})
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, status.Status.StartedAt), nil
}

// A life is how long the steps of a pod took.
type life struct{ run, killed, again, gone time.Duration }

// benchBare takes a bare pod through its life.
func benchBare(b *testing.B, p *bare) (took life, err error) {
	begin := time.Now()
	at, err := p.run(b)
	if err != nil {
		return life{}, err
	}
	took.run = at.Sub(begin)
	begin = time.Now()
	if err := p.kill(b); err != nil { // returns once the engine has seen the exit
		return life{}, err
	}
	took.killed = time.Since(begin)
	begin = time.Now()
	if at, err = p.start(b, 1); err != nil {
		return life{}, err
	}
	took.again = at.Sub(begin)
	begin = time.Now()
	if err := p.remove(b); err != nil {
		return life{}, err
	}
	took.gone = time.Since(begin)
	return took, nil
}

// kill ends the container.
func (p *bare) kill(b *testing.B) error {
	_, err := p.engine.StopContainer(b.Context(), &cri.StopContainerRequest{ContainerId: p.container})
	return err
}

// remove ends and removes everything, without grace.
func (p *bare) remove(b *testing.B) error {
	if err := p.kill(b); err != nil {
		return err
	}
	if _, err := p.engine.StopPodSandbox(b.Context(), &cri.StopPodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
		return err
	}
	_, err := p.engine.RemovePodSandbox(b.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: p.sandbox})
	return err
}
