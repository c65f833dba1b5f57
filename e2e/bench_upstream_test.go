package e2e

import (
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
)

// benchUpstream measures kubeadm and the kubelet where boot is to be compared with
// them. Their engine runs, and has all images, before the clock starts: boot has
// to see to both itself.
func benchUpstream(b *testing.B, results *table) {
	n := lab.New(b)
	n.Import(b)
	startEngine(b, n)
	begin := time.Now()
	upstreamInit(b, n)
	y := &yard{n: n, client: n.Client(b, adminConf), engine: n.CRI(b, upstreamSocket)}
	// Their kube-proxy is no static pod.
	poll(b, "see everything Ready", allReady(n, y.client, "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"))
	r := results.row("boot init → all Ready; bare: kubeadm and kubelet", seconds, "≤ 0.35")
	r.bare = append(r.bare, time.Since(begin).Seconds())

	y.benchUpstreamLoop(b, results, "control plane")
	names := manyNames()
	for _, name := range names {
		y.place(b, name)
	}
	pods := y.watch(b)
	begin = time.Now()
	for _, name := range names {
		y.show(b, name)
	}
	y.awaitReady(b, pods, names...)
	r = results.row("60 pods at once → all mirrors Ready; bare: kubelet", seconds, "")
	r.bare = append(r.bare, time.Since(begin).Seconds())
	y.benchUpstreamLoop(b, results, manyMore())
}

func (y *yard) benchUpstreamLoop(b *testing.B, results *table, with string) {
	b.Helper()
	for _, f := range atRest(b, y.n, "kubelet", "--kubeconfig=") {
		results.process(f, with)
	}
}
