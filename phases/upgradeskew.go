package phases

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"boot.internal/config"
)

// Versions are those that an upgrade has to do with, each as "v1.37.2".
type Versions struct {
	Boot    string // of Kubernetes, that this program is
	Cluster string // of the control plane, as the cluster stores it
	Target  string
	// APIServers and Kubelets are those that run, by node; nil where they are not
	// known.
	APIServers, Kubelets map[string]string
}

// Policy says which versions the user takes the responsibility for.
type Policy struct {
	Prereleases bool // alpha and beta versions
	Candidates  bool // release candidates
	Force       bool // what is advised against, but breaks nothing for sure
}

// oldestKubelet is how many minor versions a kubelet may be older than the API
// server it talks to: see the version skew policy of Kubernetes.
const oldestKubelet = 3

// Skew finds what speaks against moving the control plane of a cluster from one
// version to another: versions that boot does not know, leaps over a minor version
// and the way back, and nodes that would be left too far behind.
func (v Versions) Skew(p Policy) []Finding {
	cluster, err := version.ParseSemantic(v.Cluster)
	if err != nil {
		return found("KubernetesVersion", "put it right in the ConfigMap kube-system/kubeadm-config", "the cluster says its version is %q", v.Cluster)
	}
	target, err := version.ParseSemantic(v.Target)
	if err != nil {
		return found("KubernetesVersion", "write it as in "+v.Boot, "%q is not a version", v.Target)
	}
	if never := v.way(cluster, target); len(never) > 0 {
		return never
	}
	if never := v.own(target); len(never) > 0 {
		return never
	}
	return slices.Concat(v.servers(target), p.maturity(target), p.forced(v.patch(cluster, target)), p.forced(v.kubelets(target)))
}

// way finds leaps: an API server can read what the one a minor version before it
// has stored, and no other.
func (v Versions) way(from, to *version.Version) []Finding {
	step := int(to.Minor()) - int(from.Minor())
	switch {
	case from.Major() != to.Major():
		return found("VersionSkew", "boot knows no way there", "the cluster is at %s: %s is another major version", v.Cluster, v.Target)
	case step < 0:
		return found("VersionSkew", "restore a snapshot of etcd to have the cluster as it was before an upgrade",
			"the cluster is at %s: there is no way back to %s, which may not understand what is stored", v.Cluster, v.Target)
	case step > 1:
		return found("VersionSkew", fmt.Sprintf("go to v1.%d first, with a boot that is of it", from.Minor()+1),
			"the cluster is at %s: an upgrade to %s would skip a minor version", v.Cluster, v.Target)
	}
	return nil
}

// own finds versions that this boot has no manifests for.
func (v Versions) own(target *version.Version) []Finding {
	if config.SupportsVersion(v.Target) == nil {
		return nil
	}
	hint := "use an older boot"
	if boot, err := version.ParseSemantic(v.Boot); err == nil && target.Minor() > boot.Minor() {
		hint = "use a newer boot, which brings the node agent with it"
	}
	return found("KubernetesVersion", hint, "this boot is of Kubernetes %s, and runs control planes of it and of the minor version before: %s is neither", v.Boot, v.Target)
}

// servers finds API servers that the next would be too far away from.
func (v Versions) servers(target *version.Version) []Finding {
	var all []Finding
	for _, node := range slices.Sorted(maps.Keys(v.APIServers)) {
		runs, err := version.ParseSemantic(v.APIServers[node])
		if err != nil || int(target.Minor())-int(runs.Minor()) <= 1 {
			continue
		}
		all = append(all, found("VersionSkew", "run 'boot upgrade node' there first",
			"kube-apiserver of %s is at %s, more than a minor version before %s", node, v.APIServers[node], v.Target)...)
	}
	return all
}

func (p Policy) maturity(target *version.Version) []Finding {
	pre := target.PreRelease()
	switch {
	case pre == "":
		return nil
	case strings.HasPrefix(pre, "rc."):
		if p.Candidates || p.Prereleases {
			return nil
		}
		return found("KubernetesVersion", "--allow-release-candidate-upgrades goes there nevertheless", "v%s is a release candidate", target)
	case p.Prereleases:
		return nil
	}
	return found("KubernetesVersion", "--allow-experimental-upgrades goes there nevertheless", "v%s is not released", target)
}

func (v Versions) patch(from, to *version.Version) []Finding {
	if !to.LessThan(from) {
		return nil
	}
	return found("VersionSkew", "with --force it is done nevertheless", "the cluster is at %s, and %s is before that", v.Cluster, v.Target)
}

// kubelets finds those that the new API server need not serve any more.
func (v Versions) kubelets(target *version.Version) []Finding {
	var all []Finding
	for _, node := range slices.Sorted(maps.Keys(v.Kubelets)) {
		runs, err := version.ParseSemantic(v.Kubelets[node])
		if err != nil || int(target.Minor())-int(runs.Minor()) <= oldestKubelet {
			continue
		}
		all = append(all, found("VersionSkew", "upgrade the node first; with --force it is left behind",
			"the kubelet of node %s is at %s, too old for %s", node, v.Kubelets[node], v.Target)...)
	}
	return all
}

// forced has findings only warn if the user wants to go on.
func (p Policy) forced(all []Finding) []Finding {
	for i := range all {
		all[i].Warning = all[i].Warning || p.Force
	}
	return all
}

// NodeSkew finds what speaks against this boot being the node agent of a node: it
// must not be newer than any API server that the node may talk to. That of its own
// control plane is upgraded before it.
func (v Versions) NodeSkew() []Finding {
	boot, err := version.ParseSemantic(v.Boot)
	if err != nil {
		return found("KubernetesVersion", "", "this boot says its version is %q", v.Boot)
	}
	var all []Finding
	for _, server := range slices.Sorted(maps.Keys(v.APIServers)) {
		runs, err := version.ParseSemantic(v.APIServers[server])
		switch {
		case err != nil:
		case runs.Minor() < boot.Minor():
			all = append(all, found("KubeletVersion", "upgrade the control plane first: 'boot upgrade apply' on its first node, 'boot upgrade node' on the others",
				"this boot is a kubelet of %s, which is newer than kube-apiserver at %s, %s", v.Boot, server, v.APIServers[server])...)
		case int(runs.Minor())-int(boot.Minor()) > oldestKubelet:
			all = append(all, found("KubeletVersion", "use a newer boot",
				"this boot is a kubelet of %s, too old for kube-apiserver at %s, %s", v.Boot, server, v.APIServers[server])...)
		}
	}
	return all
}
