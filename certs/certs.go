// Package certs keeps the keys, certificates and kubeconfigs of a control-plane
// node: one table says who needs what, and for each entry what is on disk is
// compared with it and made anew where it does not fit.
//
// The package decides what fits and what is written, in which order. When to
// look, whether to write and how to tell the user are left to the caller. A
// certificate authority that exists is used as it is and never replaced: all
// the cluster hangs on it.
package certs

import (
	"crypto/x509"
	"slices"
	"time"
)

// Options are the values the table is filled in with.
type Options struct {
	Dir           string // of the PKI: /etc/kubernetes/pki
	KubernetesDir string // of the kubeconfigs: /etc/kubernetes
	KubeletDir    string // of the kubelet's own identity: /var/lib/kubelet/pki

	ClusterName          string   // what kubeconfigs call the cluster
	NodeName             string   // of this node
	AdvertiseAddress     string   // IP at which this node's API server and etcd are reached
	ServiceIP            string   // of the Service default/kubernetes
	DNSDomain            string   // of the cluster: "cluster.local"
	ControlPlaneHost     string   // name or address shared by all API servers; may be empty
	APIServerSANs        []string // further names and addresses of the API server
	EtcdServerSANs       []string // further names and addresses of etcd to its clients
	EtcdPeerSANs         []string // further names and addresses of etcd to its peers
	ExternalEtcd         bool     // etcd and its certificates are somebody else's
	ControlPlaneEndpoint string   // URL people reach the API at: admin.conf's server
	LocalEndpoint        string   // URL of this node's API server, for its own components
	NodeEndpoint         string   // URL at which the kubelet, and kube-proxy with it, reaches the API
	NodeServerName       string   // whom it expects there; empty: the host of the URL

	Algorithm Algorithm     // of new keys
	CAPeriod  time.Duration // how long a new CA lives
	Period    time.Duration // how long any other new certificate lives
}

// An Algorithm is a kind of key, in kubeadm's words.
type Algorithm string

// The algorithms there are.
const (
	ECDSAP256 Algorithm = "ECDSA-P256"
	ECDSAP384 Algorithm = "ECDSA-P384"
	RSA2048   Algorithm = "RSA-2048"
	RSA3072   Algorithm = "RSA-3072"
	RSA4096   Algorithm = "RSA-4096"
)

// A PKI is the table filled in for one node.
type PKI struct{ o Options }

// New fills in the table. It reads and writes nothing.
func New(o Options) *PKI { return &PKI{o} }

// An Item is one thing the PKI keeps: a CA, a certificate, the service account
// keys or a kubeconfig.
type Item struct {
	Name string // what kubeadm calls its phase: "certs/apiserver-etcd-client"
	Desc string // one line for listings
	Path string // the file it is known by
	item
}

// item is what every kind of Item can do.
type item interface {
	// Look compares what is on disk with the table. The error is for what
	// cannot be mended by writing, and carries a hint.
	Look() (Status, error)
	// Plan returns the writes still to be made, in order; none if it fits.
	Plan() ([]Write, error)
	// certificate reads what there is to show; ok is false for an item that is
	// no certificate, and the certificate nil if it is missing or broken.
	certificate() (c *x509.Certificate, ok bool)
}

// A Write puts one file in place.
type Write struct {
	Path string
	Why  string // why what is there must go; empty if nothing is
	Do   func() error
}

// Status is how an item on disk stands to the table.
type Status struct {
	State  State
	Reason string // in words, to follow the name of the file
}

// State is the short form of a Status.
type State string

// The states of an item.
const (
	Missing  State = "missing"
	Unfit    State = "unfit"    // there, but to be made anew
	Expiring State = "expiring" // fits, with a third of its life left or less
	Fits     State = "fits"
)

// EtcdCerts returns etcd's CA and all it signs, in the order to make them.
func (p *PKI) EtcdCerts() []Item { return p.certs(etcdTable(p.o)) }

// ClusterCerts returns everything but etcd's, in the order to make them.
func (p *PKI) ClusterCerts() []Item {
	keys := serviceAccount{p.o, Tree(p.o.Dir).SA, authority{p.o, clusterCA(p.o)}}
	return append(p.certs(clusterTable(p.o)),
		Item{"certs/sa", "Generate the keys service account tokens are signed with", keys.files.Key, keys})
}

// Kubeconfigs returns the kubeconfig files.
func (p *PKI) Kubeconfigs() []Item {
	var items []Item
	for _, k := range kubeconfigTable(p.o) {
		items = append(items, Item{"kubeconfig/" + k.name, k.desc, k.path, k})
	}
	return items
}

// All returns every item of the PKI, etcd's only if etcd is not external.
func (p *PKI) All() []Item {
	var etcd []Item
	if !p.o.ExternalEtcd {
		etcd = p.EtcdCerts()
	}
	return slices.Concat(etcd, p.ClusterCerts(), p.Kubeconfigs())
}

// External says whether the key of the cluster's CA is kept somewhere else, so
// that nothing can be signed on this machine.
func (p *PKI) External() (bool, error) {
	ca, err := authority{p.o, clusterCA(p.o)}.load()
	return ca.external(), err
}

func (p *PKI) certs(table []row) []Item {
	var items []Item
	for _, r := range table {
		var it item = authority{p.o, r}
		if r.ca != nil {
			it = leaf{p.o, r, authority{p.o, *r.ca}}
		}
		items = append(items, Item{"certs/" + r.name, r.desc, r.files.Cert, it})
	}
	return items
}
