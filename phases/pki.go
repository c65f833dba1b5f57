package phases

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"boot.internal/certs"
	"boot.internal/config"
)

// pkiOptions fills in the PKI from the configuration.
func pkiOptions(cfg *config.Init, dirs Dirs) (certs.Options, error) {
	cluster, node := cfg.Cluster, cfg.Init
	serviceIP, err := cluster.Networking.ServiceAddress(config.KubernetesServiceIndex)
	if err != nil {
		return certs.Options{}, err
	}
	access := initEndpoint(cfg)
	o := certs.Options{
		Dir:           cluster.CertificatesDir,
		KubernetesDir: dirs.Kubernetes,
		KubeletDir:    filepath.Join(dirs.Kubelet, "pki"),

		ClusterName:      cluster.ClusterName,
		NodeName:         node.NodeRegistration.Name,
		AdvertiseAddress: node.LocalAPIEndpoint.AdvertiseAddress,
		ServiceIP:        serviceIP.String(),
		DNSDomain:        cluster.Networking.DNSDomain,
		APIServerSANs:    cluster.APIServer.CertSANs,
		ExternalEtcd:     cluster.Etcd.External != nil,
		LocalEndpoint:    localURL(cfg),
		NodeEndpoint:     access.server,
		NodeServerName:   access.serverName,

		ControlPlaneEndpoint: SharedURL(cfg),

		Algorithm: certs.Algorithm(cluster.EncryptionAlgorithm),
		CAPeriod:  cluster.CACertificateValidityPeriod.Duration,
		Period:    cluster.CertificateValidityPeriod.Duration,
	}
	if local := cluster.Etcd.Local; local != nil {
		o.EtcdServerSANs, o.EtcdPeerSANs = local.ServerCertSANs, local.PeerCertSANs
	}
	if endpoint := cluster.ControlPlaneEndpoint; endpoint != "" {
		if o.ControlPlaneHost, _, err = net.SplitHostPort(endpoint); err != nil {
			return certs.Options{}, fmt.Errorf("split the control-plane endpoint: %w", err)
		}
	}
	return o, nil
}

// localURL is where this node's own API server is reached.
func localURL(cfg *config.Init) string {
	local := cfg.Init.LocalAPIEndpoint
	return "https://" + net.JoinHostPort(local.AdvertiseAddress, strconv.Itoa(int(local.BindPort)))
}

// SharedURL returns the URL at which people and other nodes reach the API.
func SharedURL(cfg *config.Init) string {
	if cfg.Cluster.ControlPlaneEndpoint != "" {
		return "https://" + cfg.Cluster.ControlPlaneEndpoint
	}
	return localURL(cfg)
}

// itemSteps returns a step for each item of the PKI.
func itemSteps(items []certs.Item) []Step {
	var steps []Step
	for _, it := range items {
		steps = append(steps, Step{it.Name, it.Desc, PlanFunc(func(ctx context.Context) ([]Change, error) {
			return planItem(ctx, it)
		})})
	}
	return steps
}

func planItem(ctx context.Context, it certs.Item) ([]Change, error) {
	status, err := it.Look()
	if err != nil {
		return nil, err
	}
	if status.State == certs.Expiring {
		warn(ctx, it.Path+" "+status.Reason)
	}
	writes, err := it.Plan()
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, w := range writes {
		desc := "write " + w.Path
		if w.Why != "" {
			desc = "renew " + w.Path + ": " + w.Why
		}
		changes = append(changes, Change{desc, func(context.Context) error { return w.Do() }})
	}
	return changes, nil
}
