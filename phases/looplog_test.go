package phases

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What the loop has to say of a pod without a container is said in its stead.
func TestComplaint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubelet.log")
	log := `time=2026-01-01T00:00:00Z level=WARN msg=retry pod=kube-system/etcd-node1 after=1s err="start etcd: an earlier reason"
time=2026-01-01T00:00:01Z level=INFO msg=act pod=kube-system/etcd-node1 action="start etcd"
time=2026-01-01T00:00:01Z level=WARN msg=retry pod=kube-system/etcd-node1 after=2s err="start etcd: Failed to pull image \"r.io/etcd:none\": not found"
time=2026-01-01T00:00:02Z level=WARN msg=retry pod=kube-system/etcd-node10 after=2s err="of another node"
time=2026-01-01T00:00:03Z level=WARN msg="cannot mirror pod" pod=kube-system/kube-proxy-node1 err=EOF
time=2026-01-01T00:00:04Z level=INFO msg=act pod=kube-system/etcd-node1 action="start etcd"
`
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, pod, want string }{
		{path, "etcd", `start etcd: Failed to pull image "r.io/etcd:none": not found`},
		{path, "kube-proxy", "EOF"},
		{path, "kube-apiserver", ""},
		{path + ".none", "etcd", ""},
		{"", "etcd", ""},
	} {
		if got := (loopLog{c.path, "Node1"}).complaint(c.pod); got != c.want {
			t.Errorf("%s in %q: got %q, want %q", c.pod, c.path, got, c.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := await(t, &waitControlPlane{
			probes: []probe{never("etcd")}, components: nothing, service: &fakeService{running: true}, timeout: time.Minute,
			log: loopLog{path, "node1"},
		})
		if err == nil || !strings.Contains(err.Error(), "etcd has no container yet: start etcd: Failed to pull image") {
			t.Errorf("got %v", err)
		}
	})
}
