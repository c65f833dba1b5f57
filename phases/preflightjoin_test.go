package phases

import "testing"

func newTestWorker(t *testing.T) *testHost {
	t.Helper()
	h := newTestHost(t)
	h.p.Worker = true
	return h
}

// A worker needs less than a control plane, and other ports.
func TestPreflightOfWorker(t *testing.T) {
	h := newTestWorker(t)
	h.cpus = 1
	h.file("proc/meminfo", "MemTotal: 512000 kB\n")
	h.file("var/lib/etcd/member/wal/0", "")
	if _, _, stops := h.plan(); len(stops) > 0 {
		t.Errorf("stopped by %s", stops)
	}
	for _, of := range h.p.ports() {
		if of.of != loopProgram {
			t.Errorf("%s is to be free, which is that of %s", of.id(), of.of)
		}
	}
}

func TestPreflightLeftoversOfWorker(t *testing.T) {
	leave := func(h *testHost) {
		h.file("etc/kubernetes/kubelet.conf", "")
		h.file("etc/kubernetes/pki/ca.crt", "")
		h.file("etc/kubernetes/manifests/kube-proxy.yaml", "")
	}
	h := newTestWorker(t)
	leave(h)
	_, _, stops := h.plan()
	wantBeginnings(t, "stopped by", stops, []string{
		"[FileAvailable--etc-kubernetes-kubelet.conf] /etc/kubernetes/kubelet.conf is there",
		"[FileAvailable--etc-kubernetes-pki-ca.crt] /etc/kubernetes/pki/ca.crt is there",
		"[FileAvailable--etc-kubernetes-manifests-kube-proxy.yaml] /etc/kubernetes/manifests/kube-proxy.yaml is there",
	})

	ours := newTestWorker(t)
	leave(ours)
	ours.begun()
	if _, _, stops := ours.plan(); len(stops) > 0 {
		t.Errorf("our own are in the way: %s", stops)
	}
}

// A control plane of boot's does not become a worker by a slip.
func TestPreflightWorkerOnControlPlane(t *testing.T) {
	h := newTestWorker(t)
	h.file("etc/kubernetes/manifests/kube-apiserver.yaml", "")
	h.begun()
	_, _, stops := h.plan()
	wantBeginnings(t, "stopped by", stops, []string{
		"[FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml] this host runs a control plane",
	})
}
