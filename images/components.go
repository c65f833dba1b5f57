package main

import (
	"context"
	"io"
	"path/filepath"
	"slices"

	"boot.internal/images/pack"
)

// wrappers lists the modules that pin the components.
func wrappers() []Wrapper {
	return []Wrapper{
		wrapKubernetes(), wrapEtcd("server"), wrapEtcd("etcdctl"), wrapEtcd("etcdutl"), wrapCoreDNS(),
		wrapContainerd(), wrapRunc(), wrapCNI(), wrapMetricsServer(), wrapPrometheus(),
	}
}

// steps lists what is made, in the order in which people wait for it.
func steps(upstream bool) []step {
	all := []step{
		{"engine", sources{"engine.go", "containerd", "runc", "cni", "CONTAINERD", "RUNC", "CNI_PLUGINS"}, makeEngine},
		{"pause", sources{"pause.go", "pause", "PAUSE_IMAGE"}, makePause},
		{"testbox", sources{"testbox.go", "testbox", "TESTBOX_IMAGE"}, makeTestbox},
		{"kubernetes", sources{"kubernetes.go", "firewall.go", "kubernetes", "KUBERNETES"}, makeKubernetes},
		{"etcd", sources{"etcd.go", "etcd", "ETCD", "ETCD_IMAGE"}, makeEtcd},
		{"coredns", sources{"coredns.go", "coredns", "COREDNS"}, makeCoreDNS},
		{"metrics-server", sources{"metricsserver.go", "metrics-server", "METRICS_SERVER"}, makeMetricsServer},
		{"prometheus", sources{"prometheus.go", "prometheus", "PROMETHEUS"}, makePrometheus},
	}
	if upstream {
		all = append(all, step{"upstream", sources{"kubernetes.go", "kubernetes", "KUBERNETES"}, makeUpstream})
	}
	return all
}

// bundle packs the released images into one archive, once they are all there.
func bundle(v Versions) step {
	merge := func(_ context.Context, b *bench) error {
		var archives []string
		for _, name := range releaseImages(v) {
			archives = append(archives, filepath.Join(b.dir, archivePath(name)))
		}
		return b.write("bundle.tar.zst", func(w io.Writer) error {
			return pack.Merge(w, b.epoch, archives...)
		})
	}
	var from sources
	for _, st := range steps(false) {
		if slices.Contains([]string{"pause", "kubernetes", "etcd", "coredns"}, st.name) {
			from = append(from, st.sources...)
		}
	}
	return step{"bundle", append(from, "components.go"), merge}
}

// releaseImages are the names of the images of a cluster, as kubeadm has them.
func releaseImages(v Versions) []string {
	return []string{
		kubeImage(v, "kube-apiserver"), kubeImage(v, "kube-controller-manager"),
		kubeImage(v, "kube-scheduler"), kubeImage(v, "kube-proxy"),
		etcdImage(v), corednsImage(v), pauseImage(v),
	}
}
