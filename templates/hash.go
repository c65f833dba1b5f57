package templates

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"path/filepath"

	"boot.internal/config"
)

// Hash returns a short hash of contents, which is another one if anything
// moves from one content to the next.
func Hash(contents ...[]byte) string {
	h := sha256.New()
	for _, c := range contents {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(c)))
		h.Write(size[:])
		h.Write(c)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Files returns the certificates, keys and kubeconfigs that a component reads
// at its start. The client certificate of a node is not among those of
// kube-proxy: it is replaced often, and kube-proxy notices.
func Files(cfg *config.Init, component string) []string {
	var out []string
	switch component {
	case config.ComponentEtcd:
		out = pki(cfg, "etcd/ca.crt", "etcd/server.crt", "etcd/server.key", "etcd/peer.crt", "etcd/peer.key")
	case config.ComponentAPIServer:
		out = pki(cfg, "ca.crt", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key",
			"front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key", "sa.pub", "sa.key")
		out = append(out, etcdClientFiles(cfg)...)
	case config.ComponentControllerManager:
		out = append(pki(cfg, "ca.crt", "ca.key", "front-proxy-ca.crt", "sa.key"), controllerManagerKubeconfig)
	case config.ComponentScheduler:
		out = []string{schedulerKubeconfig}
	case config.ComponentProxy:
		out = []string{config.NodeKubeconfig}
	}
	return out
}

// etcdClientFiles are what the API server shows to etcd.
func etcdClientFiles(cfg *config.Init) []string {
	e := cfg.Cluster.Etcd.External
	if e == nil {
		return pki(cfg, "etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key")
	}
	var out []string
	for _, file := range []string{e.CAFile, e.CertFile, e.KeyFile} {
		if file != "" {
			out = append(out, file)
		}
	}
	return out
}

// pki returns paths in the directory of certificates.
func pki(cfg *config.Init, names ...string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, filepath.Join(cfg.Cluster.CertificatesDir, name))
	}
	return out
}
