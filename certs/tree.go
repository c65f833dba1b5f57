package certs

import "path/filepath"

// A Pair is the two files of one identity. For the service account keys Cert
// is the public key.
type Pair struct {
	Cert string
	Key  string
}

// Paths are the files of a PKI directory, by kubeadm's names.
type Paths struct {
	CA                     Pair
	APIServer              Pair
	APIServerKubeletClient Pair
	FrontProxyCA           Pair
	FrontProxyClient       Pair
	EtcdCA                 Pair
	EtcdServer             Pair
	EtcdPeer               Pair
	EtcdHealthcheckClient  Pair
	APIServerEtcdClient    Pair
	SA                     Pair
}

// Tree returns the paths of the PKI in dir, whether or not anything is there yet.
func Tree(dir string) Paths {
	pair := func(base string) Pair {
		base = filepath.Join(dir, base)
		return Pair{Cert: base + ".crt", Key: base + ".key"}
	}
	return Paths{
		CA:                     pair("ca"),
		APIServer:              pair("apiserver"),
		APIServerKubeletClient: pair("apiserver-kubelet-client"),
		FrontProxyCA:           pair("front-proxy-ca"),
		FrontProxyClient:       pair("front-proxy-client"),
		EtcdCA:                 pair("etcd/ca"),
		EtcdServer:             pair("etcd/server"),
		EtcdPeer:               pair("etcd/peer"),
		EtcdHealthcheckClient:  pair("etcd/healthcheck-client"),
		APIServerEtcdClient:    pair("apiserver-etcd-client"),
		SA:                     Pair{Cert: filepath.Join(dir, "sa.pub"), Key: filepath.Join(dir, "sa.key")},
	}
}

// KubeletPaths are the files the kubelet keeps its own identity in.
type KubeletPaths struct {
	Serving Pair   // what :10250 shows
	Client  string // certificate and key in one file, for the API server
}

// KubeletTree returns the paths of the kubelet's identity in dir, usually
// /var/lib/kubelet/pki.
func KubeletTree(dir string) KubeletPaths {
	base := filepath.Join(dir, "kubelet")
	return KubeletPaths{
		Serving: Pair{Cert: base + ".crt", Key: base + ".key"},
		Client:  filepath.Join(dir, "kubelet-client-current.pem"),
	}
}

// KubeconfigPaths are the kubeconfig files of a control-plane node.
type KubeconfigPaths struct {
	Admin             string
	SuperAdmin        string
	Kubelet           string
	ControllerManager string
	Scheduler         string
}

// KubeconfigTree returns the paths of the kubeconfigs in dir, usually
// /etc/kubernetes.
func KubeconfigTree(dir string) KubeconfigPaths {
	return KubeconfigPaths{
		Admin:             filepath.Join(dir, "admin.conf"),
		SuperAdmin:        filepath.Join(dir, "super-admin.conf"),
		Kubelet:           filepath.Join(dir, "kubelet.conf"),
		ControllerManager: filepath.Join(dir, "controller-manager.conf"),
		Scheduler:         filepath.Join(dir, "scheduler.conf"),
	}
}
