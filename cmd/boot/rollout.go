package main

import (
	"context"
	"errors"

	"boot.internal/config"
	"boot.internal/kubelet/local"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/source/manifest"
	"boot.internal/phases"
)

// rolloutOptions say how the static pods of a node are replaced, by the
// configuration that its loop runs with.
func rolloutOptions(ui *ui, loop *config.Loop, node string) (phases.RolloutOptions, error) {
	service, log, _, err := newService(ui, loop.Boot, nil, false)
	if err != nil {
		return phases.RolloutOptions{}, err
	}
	return phases.RolloutOptions{
		Manifests: loop.Kubelet.StaticPodPath, State: stateDir, Identify: identifyAs(node),
		Components: components{boot: loop.Boot, socket: loop.Kubelet.ContainerRuntimeEndpoint, node: node, log: ui.logger()},
		Service:    anyLoop{service, local.NewClient(local.Socket(runDir))}, LoopLog: log, Node: node,
	}, nil
}

// identifyAs reads manifests as the loop of a node does.
func identifyAs(node string) func(data []byte, path string) (string, error) {
	return func(data []byte, path string) (string, error) {
		p, _, err := manifest.Pod(data, manifest.Origin{Node: node, Source: pod.SourceFile, Place: "file:" + path})
		if err != nil {
			return "", err
		}
		return string(p.UID), nil
	}
}

// An anyLoop is the loop of this host, whoever started it and with what arguments.
type anyLoop struct {
	phases.Service
	client *local.Client
}

// Running implements phases.Service.
func (l anyLoop) Running(ctx context.Context) (bool, error) {
	_, err := l.client.State(ctx)
	if errors.Is(err, local.ErrNotRunning) {
		return false, nil
	}
	return err == nil, err
}
