package main

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"boot.internal/certs"
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

// versionPatience is how long an API server may take to say its version: one that
// is busy must not be taken for none.
const versionPatience = 10 * time.Second

// workerVersions asks every API server that the node knows of for its version, and
// where there is none, whichever answers. One that does not is nobody's for now.
func (h *upgradeHost) workerVersions(ctx context.Context) phases.Versions {
	v := phases.Versions{Boot: config.DefaultKubernetesVersion, APIServers: map[string]string{}}
	servers := resetAPI{dirs: phases.ResetDirs{State: stateDir}, servers: h.loop.Boot.APIServers}.known()
	said := make([]string, len(servers))
	var group sync.WaitGroup
	for i, server := range servers {
		access := rest.CopyConfig(h.access)
		access.Host, access.ServerName = "https://"+server, config.LocalAPIName
		group.Go(func() { said[i] = serverVersion(ctx, access) })
	}
	group.Wait()
	for i, server := range servers {
		if said[i] != "" {
			v.APIServers[server] = said[i]
		}
	}
	if len(v.APIServers) > 0 {
		return v
	}
	if version := serverVersion(ctx, h.access); version != "" {
		v.APIServers[h.access.Host] = version
	}
	return v
}

// serverVersion asks an API server; "" stands for no answer.
func serverVersion(ctx context.Context, access *rest.Config) string {
	access = rest.CopyConfig(access)
	access.Timeout = versionPatience
	client, err := discovery.NewDiscoveryClientForConfig(access)
	if err != nil {
		return ""
	}
	info, err := client.ServerVersionWithContext(ctx)
	if err != nil {
		return ""
	}
	return info.GitVersion
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
	renewal := phases.RenewOptions{
		Places: certs.Places{PKI: node.Cluster.CertificatesDir, Kubernetes: h.dirs.Kubernetes, Kubelet: filepath.Join(h.dirs.Kubelet, "pki")}, Rollout: rollout,
	}
	if !h.cfg.KeepCertificates {
		renewal.Held = phases.UpgradeRenewal(certs.Hold(renewal.Places), time.Now())
	}
	program, err := h.program()
	if err != nil {
		return phases.UpgradeOptions{}, err
	}
	return phases.UpgradeOptions{
		Config: node, ControlPlane: h.api != nil, Apply: apply, KeepEtcd: h.cfg.KeepEtcd, Ignore: h.cfg.IgnorePreflightErrors, Renewal: renewal,
		Note: phases.UpgradeNote{
			From: h.shared.Cluster.KubernetesVersion, Documents: h.survey.Documents, Executable: h.installed.Executable, Args: h.installed.Args,
		},
		Live: h.live, Stored: h.shared.Boot, Dirs: h.dirs, Inputs: inputs, Rollout: rollout, Service: loop, Program: program,
		Images: images{boot: h.loop.Boot, socket: h.loop.Kubelet.ContainerRuntimeEndpoint, log: h.ui.logger()},
	}, nil
}
