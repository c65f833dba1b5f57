package phases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/discovery"
)

// staticPods are the components that have a manifest on this host.
func (p preflight) staticPods() []string {
	var names []string
	if !p.Worker {
		names = append(names, config.ComponentAPIServer, config.ComponentControllerManager, config.ComponentScheduler)
	}
	if p.etcd() != nil {
		names = append(names, config.ComponentEtcd)
	}
	if !p.Config.Cluster.Proxy.Disabled {
		names = append(names, config.ComponentProxy)
	}
	return names
}

// etcd is the member that runs on this host, nil if there is none.
func (p preflight) etcd() *config.LocalEtcd {
	if p.Worker {
		return nil
	}
	return p.Config.Cluster.Etcd.Local
}

// joined are the files that only a node of a cluster has, and that a joining
// node gets. On a control plane, the authority may have been put there by hand.
func (p preflight) joined() []string {
	if !p.Worker {
		return nil
	}
	return []string{
		certs.KubeconfigTree(p.Dirs.Kubernetes).Kubelet,
		bootstrapKubeconfig(p.Dirs),
		certs.Tree(p.Config.Cluster.CertificatesDir).CA.Cert,
	}
}

// pathID is how kubeadm makes an ID of a path.
func pathID(what, path string) string { return what + "-" + strings.ReplaceAll(path, "/", "-") }

func (p preflight) manifest(name string) string {
	return filepath.Join(p.Config.Kubelet.StaticPodPath, name+".yaml")
}

// ownFiles are those that are there on a node alone.
func (p preflight) ownFiles() []string {
	paths := p.joined()
	for _, name := range p.staticPods() {
		paths = append(paths, p.manifest(name))
	}
	return paths
}

func leftoverIDs(p preflight) []string {
	var ids []string
	for _, path := range p.ownFiles() {
		ids = append(ids, pathID("FileAvailable", path))
	}
	if local := p.etcd(); local != nil {
		ids = append(ids, pathID("DirAvailable", local.DataDir))
	}
	return ids
}

// checkLeftovers finds what another cluster, or another tool, left behind.
func checkLeftovers(_ context.Context, p preflight, ours bool) []Finding {
	if path := p.manifest(config.ComponentAPIServer); p.Worker && ours && p.host.exists(path) {
		return found(pathID("FileAvailable", path), "it is a node already; to make it a worker, run 'boot reset' first",
			"this host runs a control plane: %s is there", path)
	}
	if ours {
		return nil
	}
	const advice = "take the other cluster's node out of use with its own tool, or move this out of the way"
	var all []Finding
	for _, path := range p.ownFiles() {
		if p.host.exists(path) {
			all = append(all, found(pathID("FileAvailable", path), advice, "%s is there, and boot did not write it", path)...)
		}
	}
	local := p.etcd()
	if local == nil {
		return all
	}
	entries, err := os.ReadDir(p.host.path(local.DataDir))
	id := pathID("DirAvailable", local.DataDir)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		all = append(all, unseen(id, err)...)
	case len(entries) > 0:
		all = append(all, found(id, advice, "%s is not empty, and boot did not fill it", local.DataDir)...)
	}
	return all
}

// checkAuthority compares the CA that kubeconfigs trust with the one that is
// there: if they have nothing in common, the files are of two clusters.
func checkAuthority(_ context.Context, p preflight, _ bool) []Finding {
	tree := certs.Tree(p.Config.Cluster.CertificatesDir)
	ca, err := os.ReadFile(p.host.path(tree.CA.Cert))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unseen("ClusterCA", err)
	}
	paths, err := filepath.Glob(p.host.path(filepath.Join(p.Dirs.Kubernetes, "*.conf")))
	if err != nil {
		return unseen("ClusterCA", err)
	}
	var all []Finding
	for _, path := range paths {
		conf, err := clientcmd.LoadFromFile(path)
		if err != nil {
			continue // the phase that writes it says what is wrong with it
		}
		for _, cluster := range conf.Clusters {
			trusted := cluster.CertificateAuthorityData
			if len(trusted) > 0 && !discovery.SameAuthority(trusted, ca) {
				all = append(all, found("ClusterCA", "put the right "+tree.CA.Cert+" back, or run 'boot reset' to begin anew",
					"%s is of a cluster with another CA than %s", path, tree.CA.Cert)...)
			}
		}
	}
	return all
}
