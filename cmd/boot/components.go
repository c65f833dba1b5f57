package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/config"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/phases"
)

// Components looks at the control plane's containers over CRI: it needs neither
// the loop nor an API server to answer.
type components struct {
	boot   config.BootConfiguration
	socket string // as configured; "" has the engine found
	node   string
	log    *slog.Logger
}

// Look implements phases.Components.
func (c components) Look(ctx context.Context) ([]phases.Component, error) {
	e, err := findEngine(ctx, c.boot, c.socket, c.log)
	if err != nil {
		return nil, err
	}
	conn, err := runtime.Dial(e.Endpoint(), "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	r := runtime.New(runtime.Options{CRI: conn.Runtime, Log: c.log})
	keys, err := r.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var all []phases.Component
	for key := range keys {
		if key.Namespace != "kube-system" || !strings.HasSuffix(key.Name, "-"+strings.ToLower(c.node)) {
			continue
		}
		have, err := r.Observe(ctx, key)
		if err != nil {
			return nil, err
		}
		all = append(all, c.latest(key, have)...)
	}
	slices.SortFunc(all, func(a, b phases.Component) int { return strings.Compare(a.Pod+"/"+a.Container, b.Pod+"/"+b.Container) })
	return all, nil
}

// latest returns the newest instance of each container of a pod.
func (c components) latest(key pod.Key, have pod.Observed) []phases.Component {
	var all []phases.Component
	seen := map[string]bool{}
	for _, o := range have.Containers {
		if seen[o.Name] {
			continue
		}
		seen[o.Name] = true
		all = append(all, phases.Component{
			Pod:    strings.TrimSuffix(key.Name, "-"+strings.ToLower(c.node)),
			PodUID: string(o.PodUID), PodSince: since(have, o.PodUID),
			Container: o.Name, State: stateOf(o.State), ExitCode: o.ExitCode, Reason: o.Reason,
			Restarts: int(o.Attempt), Before: before(have, o), StartedAt: o.StartedAt, LogPath: o.LogPath,
		})
	}
	return all
}

// before returns the attempt of the first instance of a container that is still known.
func before(have pod.Observed, latest pod.Container) int {
	first := latest.Attempt
	for _, o := range have.Containers {
		if o.PodUID == latest.PodUID && o.Name == latest.Name {
			first = min(first, o.Attempt)
		}
	}
	return int(first)
}

// since returns when the first sandbox of a pod was made that is still known.
func since(have pod.Observed, uid types.UID) time.Time {
	var first time.Time
	for _, s := range have.Sandboxes { // newest first
		if s.UID == uid {
			first = s.CreatedAt
		}
	}
	return first
}

func stateOf(s pod.State) phases.ContainerState {
	switch s {
	case pod.Running:
		return phases.ContainerRunning
	case pod.Exited:
		return phases.ContainerExited
	default:
		return phases.ContainerWaiting
	}
}
