package main

import (
	"context"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"boot.internal/config"
	"boot.internal/phases"
)

// findings are what speaks against a move of this node to a version. With apply the
// whole cluster moves.
func (h *upgradeHost) findings(ctx context.Context, target string, apply bool) ([]phases.Finding, error) {
	all, err := h.skew(ctx, target, apply)
	if err != nil || h.api == nil {
		return all, err
	}
	members, err := h.etcd()
	if err != nil {
		return nil, err
	}
	if members != nil {
		defer func() { _ = members.Close() }()
	}
	return append(all, h.survey.Health(ctx, members, h.note != nil)...), nil
}

// skew is what the versions alone say against it.
func (h *upgradeHost) skew(ctx context.Context, target string, apply bool) ([]phases.Finding, error) {
	if h.api == nil {
		return h.workerVersions(ctx).NodeSkew(), nil
	}
	versions, err := h.versions(target, apply)
	if err != nil {
		return nil, err
	}
	all := versions.Skew(phases.Policy{Prereleases: h.cfg.Prereleases, Candidates: h.cfg.Candidates, Force: h.cfg.Force})
	if apply {
		return all, nil
	}
	// Its own API server comes before it, and is the one it prefers.
	for _, f := range versions.NodeSkew() {
		f.Warning = true
		all = append(all, f)
	}
	return all, nil
}

// refusal is what an upgrade ends with before it has begun, nil if no finding stops
// it.
func refusal(all []phases.Finding, ignore []string) error {
	e := &phases.PreflightError{Subject: "the cluster"}
	for _, f := range all {
		if f.Stops(ignore) {
			e.Findings = append(e.Findings, f)
		}
	}
	if len(e.Findings) == 0 {
		return nil
	}
	return withCode(exitPreflight, e)
}

// versions are those of the cluster as a control plane knows them. Of the API
// servers, that of this node is about to change.
func (h *upgradeHost) versions(target string, apply bool) (phases.Versions, error) {
	v := phases.Versions{
		Boot: config.DefaultKubernetesVersion, Cluster: h.shared.Cluster.KubernetesVersion, Target: target,
		APIServers: h.survey.APIServers(), Kubelets: h.survey.Kubelets,
	}
	delete(v.APIServers, h.name)
	if apply {
		return v, nil
	}
	var err error
	v.Cluster, err = h.version()
	return v, err
}

// workerVersions asks every API server that the node knows of for its version, and
// where there is none, whichever answers. One that does not is nobody's for now.
func (h *upgradeHost) workerVersions(ctx context.Context) phases.Versions {
	v := phases.Versions{Boot: config.DefaultKubernetesVersion, APIServers: map[string]string{}}
	servers := resetAPI{dirs: phases.ResetDirs{State: stateDir}, servers: h.loop.Boot.APIServers}.known()
	for _, server := range servers {
		access := rest.CopyConfig(h.access)
		access.Host, access.ServerName = "https://"+server, config.LocalAPIName
		if said, ok := serverVersion(ctx, access); ok {
			v.APIServers[server] = said
		}
	}
	if len(v.APIServers) == 0 {
		if said, ok := serverVersion(ctx, h.access); ok {
			v.APIServers[h.access.Host] = said
		}
	}
	return v
}

func serverVersion(ctx context.Context, access *rest.Config) (version string, ok bool) {
	access = rest.CopyConfig(access)
	access.Timeout = serverPatience
	client, err := kubernetes.NewForConfig(access)
	if err != nil || ctx.Err() != nil {
		return "", false
	}
	info, err := client.Discovery().ServerVersion()
	if err != nil {
		return "", false
	}
	return info.GitVersion, true
}

// options are what the phases of an upgrade of this node are built with.
func (h *upgradeHost) options(target string, apply bool) (phases.UpgradeOptions, error) {
	node := h.node(target)
	inputs, err := hostInputs(h.ui, node)
	if err != nil {
		return phases.UpgradeOptions{}, err
	}
	loop, err := h.service()
	if err != nil {
		return phases.UpgradeOptions{}, err
	}
	rollout, err := rolloutOptions(h.ui, h.loop, h.name)
	if err != nil {
		return phases.UpgradeOptions{}, err
	}
	rollout.Service, rollout.Timeout = loop, h.cfg.Timeouts.UpgradeManifests.Duration
	program, err := h.program()
	if err != nil {
		return phases.UpgradeOptions{}, err
	}
	return phases.UpgradeOptions{
		Config: node, ControlPlane: h.api != nil, Apply: apply, KeepEtcd: h.cfg.KeepEtcd, Ignore: h.cfg.IgnorePreflightErrors,
		Note: phases.UpgradeNote{
			From: h.shared.Cluster.KubernetesVersion, Documents: h.survey.Documents, Executable: h.installed.Executable, Args: h.installed.Args,
		},
		Live: h.live, Stored: h.shared.Boot, Dirs: h.dirs, Inputs: inputs, Rollout: rollout, Service: loop, Program: program,
		Images: images{boot: h.loop.Boot, socket: h.loop.Kubelet.ContainerRuntimeEndpoint, log: h.ui.logger()},
	}, nil
}
