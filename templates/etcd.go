package templates

import (
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/config"
)

// The ports of etcd.
const (
	etcdClientPort  = 2379
	etcdPeerPort    = 2380
	etcdMetricsPort = 2381
)

// Etcd returns the static pod of an etcd member: the first, or one that joins
// those of in.EtcdCluster. With an external etcd
// there is none to render: the caller knows from cfg.Cluster.Etcd.
func Etcd(cfg *config.Init, in Inputs) (Manifest, error) {
	local := cfg.Cluster.Etcd.Local
	p := newPod(cfg, config.ComponentEtcd)
	p.Command = command("etcd", etcdArgs(cfg, in.EtcdCluster), local.ExtraArgs)
	p.Env = mergeEnv(local.ExtraEnvs)
	p.Annotations = map[string]string{etcdClientURLsAnnotation: etcdURL(cfg, etcdClientPort)}
	p.Probe = etcdProbe(cfg)
	certs := filepath.Join(cfg.Cluster.CertificatesDir, "etcd")
	p = p.withMounts([]mount{
		{Name: "etcd-certs", HostPath: certs, MountPath: certs, PathType: corev1.HostPathDirectoryOrCreate},
		{Name: "etcd-data", HostPath: local.DataDir, MountPath: local.DataDir, PathType: corev1.HostPathDirectoryOrCreate},
	}, nil)
	return manifest(config.ComponentEtcd, p, in)
}

func etcdArgs(cfg *config.Init, cluster string) []config.Arg {
	name, initial := cfg.Init.NodeRegistration.Name, cluster
	client, peer := etcdURL(cfg, etcdClientPort), EtcdPeerURL(cfg)
	if cluster == "" {
		initial = name + "=" + peer
	}
	file := func(name string) string { return filepath.Join(cfg.Cluster.CertificatesDir, "etcd", name) }
	args := []config.Arg{
		{Name: "name", Value: name},
		{Name: "data-dir", Value: cfg.Cluster.Etcd.Local.DataDir},
		{Name: "listen-client-urls", Value: "https://" + hostPort(localhost(cfg), etcdClientPort) + "," + client},
		{Name: "advertise-client-urls", Value: client},
		{Name: "listen-peer-urls", Value: peer},
		{Name: "initial-advertise-peer-urls", Value: peer},
		{Name: "initial-cluster", Value: initial},
		{Name: "cert-file", Value: file("server.crt")},
		{Name: "key-file", Value: file("server.key")},
		{Name: "trusted-ca-file", Value: file("ca.crt")},
		{Name: "client-cert-auth", Value: "true"},
		{Name: "peer-cert-file", Value: file("peer.crt")},
		{Name: "peer-key-file", Value: file("peer.key")},
		{Name: "peer-trusted-ca-file", Value: file("ca.crt")},
		{Name: "peer-client-cert-auth", Value: "true"},
		{Name: "snapshot-count", Value: "10000"},
		{Name: "listen-metrics-urls", Value: "http://" + hostPort(localhost(cfg), etcdMetricsPort)},
		{Name: "feature-gates", Value: "InitialCorruptCheck=true"},
		{Name: "watch-progress-notify-interval", Value: "5s"},
	}
	if cluster != "" {
		args = append(args, config.Arg{Name: "initial-cluster-state", Value: "existing"})
	}
	return args
}

// EtcdPeerURL is where the other members reach this node's.
func EtcdPeerURL(cfg *config.Init) string { return etcdURL(cfg, etcdPeerPort) }

// etcdURL is where other hosts reach this member.
func etcdURL(cfg *config.Init, port int32) string {
	return "https://" + hostPort(cfg.Init.LocalAPIEndpoint.AdvertiseAddress, port)
}

// etcdProbe is the first address that serves health without a client
// certificate. What can not be read from the user's flags is left as it is.
func etcdProbe(cfg *config.Init) endpoint {
	e := endpoint{Host: localhost(cfg), Port: etcdMetricsPort, Scheme: corev1.URISchemeHTTP}
	urls, ok := config.ArgValue(cfg.Cluster.Etcd.Local.ExtraArgs, "listen-metrics-urls")
	if !ok {
		return e
	}
	first, _, _ := strings.Cut(urls, ",")
	u, err := url.Parse(first)
	if err != nil {
		return e
	}
	if u.Scheme == "https" {
		e.Scheme = corev1.URISchemeHTTPS
	}
	if host := u.Hostname(); host != "" {
		e.Host = host
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil && port > 0 {
		e.Port = int32(port)
	}
	return e
}
