package phases

import (
	"net"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/certs"
	"boot.internal/etcd"
)

// etcdClientURLs is the annotation in which kubeadm's manifest of etcd says
// where clients reach it.
const etcdClientURLs = "kubeadm.kubernetes.io/etcd.advertise-client-urls"

// etcdCerts is the volume of etcd's pod that holds its certificates.
const etcdCerts = "etcd-certs"

// clientURLs are where clients reach the etcd of a pod.
func clientURLs(pod *corev1.Pod) []string { return splitURLs(pod.Annotations[etcdClientURLs]) }

// peersClientURLs are where clients probably reach those who were members when
// the manifest of an etcd was written: at the hosts of its peers, on its own port.
func peersClientURLs(pod *corev1.Pod) []string {
	port := "2379"
	if own := clientURLs(pod); len(own) > 0 {
		if u, err := url.Parse(own[0]); err == nil && u.Port() != "" {
			port = u.Port()
		}
	}
	var urls []string
	for _, member := range splitURLs(flagOf(pod, "initial-cluster")) {
		_, peer, _ := strings.Cut(member, "=")
		if u, err := url.Parse(peer); err == nil && u.Host != "" {
			urls = append(urls, "https://"+net.JoinHostPort(u.Hostname(), port))
		}
	}
	return urls
}

// runsIn says whether a member is the etcd of a pod: it is known by where the
// others reach it, or its clients.
func runsIn(pod *corev1.Pod, m etcd.Member) bool {
	peer := splitURLs(flagOf(pod, "initial-advertise-peer-urls"))
	own := func(urls []string) func(string) bool {
		return func(u string) bool { return slices.Contains(urls, u) }
	}
	return slices.ContainsFunc(m.PeerURLs, own(peer)) || slices.ContainsFunc(m.ClientURLs, own(clientURLs(pod)))
}

// flagOf returns the value of a flag in the command of a pod's first container,
// "" if it is not there.
func flagOf(pod *corev1.Pod, name string) string {
	if pod == nil || len(pod.Spec.Containers) == 0 {
		return ""
	}
	c := pod.Spec.Containers[0]
	value := ""
	for _, arg := range slices.Concat(c.Command, c.Args) {
		if v, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			value = v // the last one counts
		}
	}
	return value
}

func splitURLs(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(u string) bool { return u == "" })
}

// etcdCluster returns a client with the certificates of this node.
func etcdCluster(tree certs.Paths, urls []string) (*etcd.Cluster, error) {
	return etcd.New(etcd.Options{
		Endpoints: urls, CA: tree.EtcdCA.Cert, Cert: tree.EtcdHealthcheckClient.Cert, Key: tree.EtcdHealthcheckClient.Key,
	})
}
