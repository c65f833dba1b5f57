// Package doctor says what is wrong with a node, and what to do about it.
//
// It decides purely, from facts that others have gathered: each check looks at
// one of them. What is found has an ID that stays the same, so that scripts and
// the documents can speak of it; what to do is a command, wherever there is one.
package doctor

import (
	"cmp"
	"slices"

	"boot.internal/status"
)

// A Severity is how much a finding matters.
type Severity string

// The severities; the zero Severity is none.
const (
	Critical Severity = "critical" // the node, or the cluster, does not work
	Warning  Severity = "warning"  // something does not work, or will not for long
	Note     Severity = "note"     // good to know
)

// rank sorts the worst first.
func (s Severity) rank() int { return slices.Index([]Severity{Critical, Warning, Note}, s) }

// A Finding is one thing that is wrong.
type Finding struct {
	ID       string   `json:"id"` // "EtcdNoQuorum"
	Severity Severity `json:"severity"`
	What     string   `json:"what"`               // in words
	Evidence string   `json:"evidence,omitempty"` // that it is so
	Do       string   `json:"do,omitempty"`       // what to do, most often a command
}

// Facts are what is known of a node.
type Facts struct {
	Report status.Report
	// Preflight is what the checks of init and join find now.
	Preflight []Finding
	// Disks are those that the node keeps its things on.
	Disks []Disk
	// Resolver is what pods take over to resolve names with.
	Resolver Resolver
	// ClusterDNS is what came of asking the cluster's DNS; nil if that is not to be
	// expected to answer.
	ClusterDNS *Answer
	// EngineDriver and ConfiguredDriver are the cgroup drivers of the engine and of
	// the kubelet's configuration; empty if not known.
	EngineDriver, ConfiguredDriver string
	// FsyncMillis is how long etcd's writes to disk have taken on average, in
	// milliseconds; 0 if that is not known.
	FsyncMillis float64
	// Hosts is /etc/hosts.
	Hosts string
	// Journal says why the journal of changes to this host cannot be read.
	Journal string
	// Kubeconfig is that of the loop; Missing says that there is none, though the
	// node has been made one of a cluster.
	Kubeconfig        string
	KubeconfigMissing bool
	// Unseen is what could not be found out, and why.
	Unseen []string
}

// A Disk is a file system, by a directory on it.
type Disk struct {
	Path              string
	Free, Total       uint64 // bytes
	Inodes, AllInodes uint64 // free ones, and all; 0 where the file system has none
}

// A Resolver is a resolv.conf.
type Resolver struct {
	Path    string
	Servers []string
}

// An Answer is what came of asking somebody.
type Answer struct {
	Server string
	Error  string // empty if there was an answer
}

// Examine makes all checks; the worst finding comes first.
func Examine(f Facts) []Finding {
	if f.Report.Verdict == status.NoNode {
		return []Finding{{ID: "NoNode", Severity: Critical, What: f.Report.Wrong[0], Do: "boot init, or boot join"}}
	}
	var all []Finding
	for _, check := range checks() {
		all = append(all, check(f)...)
	}
	for _, what := range f.Unseen {
		all = append(all, Finding{ID: "Unseen", Severity: Note, What: "this could not be found out: " + what})
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
	return all
}

// Worrying says whether one of the findings is more than good to know.
func Worrying(all []Finding) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return f.Severity != Note })
}

// checks are made in this order, from what others depend on to what depends on
// others.
func checks() []func(Facts) []Finding {
	return []func(Facts) []Finding{
		loop, engine, cgroupDriver, journal, disks, pressure, network,
		kubeconfig, api, registered, clock, etcd, fsync, certificates, rotation, manifests, pods,
		resolver, clusterDNS, hosts, complaints, func(f Facts) []Finding { return f.Preflight },
	}
}

// one is a single finding.
func one(id string, severity Severity, what, evidence, do string) []Finding {
	return []Finding{{id, severity, what, evidence, do}}
}
