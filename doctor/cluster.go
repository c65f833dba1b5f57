package doctor

import (
	"fmt"
	"net/netip"
	"strings"

	"boot.internal/kubelet/local"
	"boot.internal/status"
)

// kubeconfig is the way of the loop to the cluster.
func kubeconfig(f Facts) []Finding {
	if !f.KubeconfigMissing {
		return nil
	}
	return one("KubeconfigMissing", Critical, "the node has no kubeconfig: it cannot reach the cluster", f.Kubeconfig+" is not there",
		"on a control plane: boot init phase kubeconfig/kubelet; on a worker: boot join with a new token")
}

// api is whether an API server answers.
func api(f Facts) []Finding {
	a := f.Report.API
	if a == nil {
		return nil
	}
	var broken []string
	for _, w := range a.Ways {
		if !w.OK {
			broken = append(broken, w.Server+" ("+w.File+"): "+w.Error)
		}
	}
	for _, s := range f.Report.Loop.APIServers {
		if s.Health != "ready" {
			broken = append(broken, s.Address+" is "+s.Health+": "+s.Reason)
		}
	}
	switch {
	case !a.Reachable:
		return one("APIUnreachable", Critical, "no API server answers: pods run on, but nothing in the cluster can be changed",
			strings.Join(broken, "; "), "look at kube-apiserver and etcd on a control plane: boot status there")
	case !a.Ways[0].OK && f.Report.Loop.Running: // without it, there is no balancer to lead on
		return one("KubeconfigNowhere", Critical, "the kubeconfig of the loop leads to no API server, though there is one",
			strings.Join(broken, "; "), "compare 'server:' in "+a.Ways[0].File+" with the address of the control plane")
	case len(broken) > 0:
		return one("APIServerDown", Warning, "not every API server that this node knows answers", strings.Join(broken, "; "),
			"look at those nodes: boot status there")
	}
	return nil
}

func registered(f Facts) []Finding {
	r := f.Report
	if r.API == nil || !r.API.Reachable || !r.Loop.Running || r.Node.Registered {
		return nil
	}
	return one("NodeNotRegistered", Critical, "the cluster does not know this node", "there is no Node "+r.Node.Name+", or the loop may not see it",
		"see why in the log of the loop: "+r.Loop.Log)
}

// clock compares with those of API servers. Certificates and leases do not
// survive clocks that differ.
func clock(f Facts) []Finding {
	const seconds = 5 // of whole ones, on a busy network
	if f.Report.API == nil {
		return nil
	}
	for _, w := range f.Report.API.Ways {
		if ahead := max(w.Clock, -w.Clock); w.OK && ahead > seconds {
			return one("ClockSkew", Warning, "the clock of this node is not that of the API server",
				fmt.Sprintf("that of %s is %+d s away", w.Server, w.Clock), "timedatectl set-ntp true")
		}
	}
	return nil
}

// etcd is the cluster's memory.
func etcd(f Facts) []Finding {
	e := f.Report.Etcd
	if e == nil {
		return nil
	}
	var all []Finding
	if !e.Quorum {
		all = append(all, Finding{
			"EtcdNoQuorum", Critical, "etcd has no quorum: the cluster can be read at best", e.Error,
			"start the members that are down; for good losses see docs/ha.md",
		})
	}
	for _, m := range e.Members {
		switch {
		case strings.Contains(m.Error, "NOSPACE"):
			all = append(all, Finding{
				"EtcdNoSpace", Critical, "etcd is full and takes no writes", m.Name + ": " + m.Error, "boot etcd defrag",
			})
		case strings.Contains(m.Error, "CORRUPT"):
			all = append(all, Finding{
				"EtcdCorrupt", Critical, "the data of an etcd member is corrupt", m.Name + ": " + m.Error, "boot etcd remove " + m.Name + ", then have it join anew",
			})
		case !m.Healthy:
			all = append(all, Finding{
				"EtcdMemberDown", Warning, "a member of etcd is not well", m.Name + ": " + m.Error, "boot status on " + m.Name + "; boot etcd remove " + m.Name + " if it is gone for good",
			})
		}
		const large = 6 << 30 // of 8 GiB, beyond which etcd's authors advise against
		if m.DBSize > large {
			all = append(all, Finding{
				"EtcdLarge", Warning, "etcd holds nearly as much as it can", fmt.Sprintf("%s: %.1f GiB", m.Name, float64(m.DBSize)/(1<<30)), "boot etcd defrag",
			})
		}
	}
	return all
}

// fsync is how fast etcd's disk is. etcd's authors want 10 ms at the 99th
// percentile; an average of ten times that loses leaders.
func fsync(f Facts) []Finding {
	const slow = 100
	if f.FsyncMillis < slow {
		return nil
	}
	return one("EtcdSlowDisk", Warning, "the disk is too slow for etcd: leaders are lost, and the API server is slow",
		fmt.Sprintf("an fsync takes %.0f ms on average", f.FsyncMillis), "move /var/lib/etcd to a faster disk, or take other load from it")
}

// manifests that are not run as they are written.
func manifests(f Facts) []Finding {
	var all []Finding
	for _, p := range f.Report.Manifests {
		severity, id, what := Warning, "ManifestRefused", "a manifest is refused, and runs no pod"
		switch {
		case !status.Refusal(p):
			severity, id, what = Note, "ManifestNoted", "a manifest is not quite as it should be"
		case !p.Kept.IsZero():
			what = "a manifest is refused; the pod goes on as of the last good version, since " + status.Short(f.Report.Now.Sub(p.Kept))
		}
		do := p.Hint
		if do == "" {
			do = "correct it; nothing needs to be restarted"
		}
		all = append(all, Finding{id, severity, what, status.Place(p) + ": " + p.Message, do})
	}
	return all
}

// pods that are not well.
func pods(f Facts) []Finding {
	var all []Finding
	for _, p := range f.Report.StaticPods {
		if f.Report.Unwell(p) {
			all = append(all, sick(p, Critical))
		}
	}
	for _, p := range f.Report.OtherPods.Unwell {
		all = append(all, sick(p, Warning))
	}
	return all
}

// sick says what is wrong with a pod, by its state.
func sick(p local.Pod, severity Severity) Finding {
	out := Finding{Severity: severity, What: p.Key() + " is " + string(p.State), Do: "kubectl describe pod -n " + p.Namespace + " " + p.Name}
	logs := ""
	if p.Failure != nil {
		out.Evidence = p.Failure.Text
		for _, c := range p.Containers {
			if c.Name == p.Failure.Container && c.LogDir != "" {
				logs = "its log is in " + c.LogDir
			}
		}
	}
	if p.Static {
		out.Do = "correct its manifest, or what it needs"
	}
	switch p.State {
	case local.Crashing, local.Failed:
		out.ID = "PodCrashing"
		if logs != "" {
			out.Do = logs + "; " + out.Do
		}
	case local.Stuck:
		out.ID = "PodStuck"
		if strings.Contains(out.Evidence, "Image") {
			out.ID, out.Do = "PodImage", "check the image's name, and whether its registry is reached from here"
		}
	case local.Starting:
		out.ID, out.What = "PodPending", p.Key()+" does not come up"
	case local.Rejected:
		out.ID = "PodRejected"
	default:
		out.ID = "PodUnready"
	}
	return out
}

// resolver finds a resolv.conf that would have the cluster's DNS ask itself.
func resolver(f Facts) []Finding {
	for _, server := range f.Resolver.Servers {
		ip, err := netip.ParseAddr(server)
		loops := err == nil && ip.IsLoopback() || f.ClusterDNS != nil && server == f.ClusterDNS.Server
		if loops {
			return one("ResolverLoop", Warning, "pods are told to resolve names at an address that leads back to them",
				f.Resolver.Path+": nameserver "+server, "set resolvConf in /var/lib/kubelet/config.yaml to a file with the real name servers, such as /run/systemd/resolve/resolv.conf")
		}
	}
	return nil
}

func clusterDNS(f Facts) []Finding {
	if f.ClusterDNS == nil || f.ClusterDNS.Error == "" {
		return nil
	}
	return one("ClusterDNS", Warning, "the DNS of the cluster does not answer: pods do not find services by name",
		f.ClusterDNS.Server+": "+f.ClusterDNS.Error, "kubectl get pods -n kube-system -l k8s-app=kube-dns -o wide")
}
