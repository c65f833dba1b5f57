package certs

import (
	"errors"
	"io/fs"
	"time"

	"k8s.io/client-go/tools/clientcmd/api"

	"boot.internal/hint"
)

// A UserOptions says who gets a kubeconfig and for which cluster.
type UserOptions struct {
	Name   string   // of the user
	Groups []string // the user is in; none is fine
	Token  string   // to identify with; empty: a new certificate

	Dir         string        // of the PKI: /etc/kubernetes/pki
	ClusterName string        // what the kubeconfig calls the cluster
	Server      string        // URL of the API
	ServerName  string        // whom to expect there; empty: the host of Server
	Algorithm   Algorithm     // of the certificate's key
	Period      time.Duration // how long the certificate lives, at most as long as the CA
}

// UserKubeconfig returns a kubeconfig for a user, with a certificate that the
// cluster's CA signs now, or with a token. It writes nothing, and what it returns
// holds a key: it is for the user's eyes alone.
func UserKubeconfig(u UserOptions) ([]byte, error) {
	o := Options{Dir: u.Dir, ClusterName: u.ClusterName, Algorithm: u.Algorithm, Period: u.Period}
	k := kubeconfig{
		o: o, row: row{cn: u.Name, orgs: u.Groups, usages: []string{client}},
		path: "the kubeconfig", server: u.Server, serverName: u.ServerName, ca: authority{o, clusterCA(o)},
	}
	if u.Token != "" {
		return k.render(api.AuthInfo{Token: u.Token})
	}
	cert, key, err := k.issue()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.With(err, "run it where the CA's key is: on a control plane; or name the directory with --cert-dir")
	}
	if err != nil {
		return nil, err
	}
	return k.render(api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key})
}
