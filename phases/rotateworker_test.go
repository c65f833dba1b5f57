package phases

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"boot.internal/atomicfile"
	"boot.internal/certs"
	"boot.internal/config"
)

// A worker has one authority, one kubeconfig and one pod that reads it.
func TestRotationOfAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRotateWorld(t)
		w.becomesWorker()
		ca, kubelet := w.tree().CA.Cert, certs.KubeconfigTree(w.dirs.Kubernetes).Kubelet
		if diff := cmp.Diff([]string{"write " + ca, "write " + kubelet}, w.stage(RotationTrust)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"write " + ca}, w.stage(RotationIssue)); diff != "" {
			t.Error(diff)
		}
		_, err := runSteps(t.Context(), Runner{}, w.steps(RotationDrop)...)
		wantError(t, err, "is not signed by the new authority ca yet", "boot certs renew kubelet.conf")
		w.place(w.tree().CA.Key, w.o.Keys["ca"]) // whose cluster signs at its request
		w.renewed()
		w.remove(w.tree().CA.Key)
		if diff := cmp.Diff([]string{"kube-proxy"}, replacedBy(w.stage(RotationDrop))); diff != "" {
			t.Error(diff)
		}
		for _, file := range w.o.Places.Trusting() {
			if got := w.trusted(file); got != "new" {
				t.Errorf("%s trusts %q", file.Path, got)
			}
		}
		if left := w.asides(); left != nil {
			t.Errorf("left: %q", left)
		}
	})
}

// becomesWorker takes away what only a control plane has.
func (w *rotateWorld) becomesWorker() {
	w.t.Helper()
	tree, conf := w.tree(), certs.KubeconfigTree(w.dirs.Kubernetes)
	serving := certs.KubeletTree(w.o.Places.Kubelet).Serving
	gone := []string{
		tree.CA.Key, filepath.Dir(tree.EtcdCA.Cert), tree.FrontProxyCA.Cert, tree.FrontProxyCA.Key, tree.FrontProxyClient.Cert,
		tree.APIServer.Cert, tree.APIServerKubeletClient.Cert, tree.APIServerEtcdClient.Cert,
		conf.Admin, conf.SuperAdmin, conf.ControllerManager, conf.Scheduler, serving.Cert, serving.Key,
	}
	for component, l := range w.loops {
		if component != config.ComponentProxy {
			gone = append(gone, l.path)
			delete(w.loops, component)
		}
	}
	for _, path := range gone {
		w.remove(path)
	}
}

func (w *rotateWorld) remove(path string) {
	w.t.Helper()
	if err := os.RemoveAll(path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rotateWorld) place(path string, content []byte) {
	w.t.Helper()
	if err := atomicfile.Write(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}
