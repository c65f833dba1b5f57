package phases

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"boot.internal/logfile"
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
Jan 01 00:00:05 node1 boot[7]: {"time":"2026-01-01T00:00:05Z","level":"WARN","msg":"retry","pod":"kube-system/kube-scheduler-node1","err":"start \"it\": no"}
Jan 01 00:00:05 node1 boot[7]: {"time":"2026-01-01T00:00:05Z","level":"INFO","msg":"act","pod":"kube-system/kube-scheduler-node1"}
`
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(path string) LoopLog {
		return LoopLog{Where: path, Tail: func(_ context.Context, lines int) []string { return logfile.Tail(path, 0, lines) }}
	}
	for _, c := range []struct {
		log       LoopLog
		pod, want string
	}{
		{in(path), "etcd", `start etcd: Failed to pull image "r.io/etcd:none": not found`},
		{in(path), "kube-proxy", "EOF"},
		{in(path), "kube-scheduler", `start "it": no`},
		{in(path), "kube-apiserver", ""},
		{in(path + ".none"), "etcd", ""},
		{LoopLog{}, "etcd", ""},
	} {
		if got := c.log.complaint(t.Context(), "Node1", c.pod); got != c.want {
			t.Errorf("%s in %q: got %q, want %q", c.pod, c.log.Where, got, c.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		p := &waitControlPlane{
			probes: []probe{never("etcd")}, components: nothing, service: &fakeService{running: true}, timeout: time.Minute, log: in(path), node: "node1",
		}
		_, err := await(t, p)
		wantError(t, err, "etcd has no container yet: start etcd: Failed to pull image", "the log of the kubelet loop: "+path)
		p.service = &fakeService{}
		_, err = await(t, p)
		wantError(t, err, "does not run\nthe last lines of its log:\n  time=2026-01-01T00:00:00Z", "the log of the kubelet loop: "+path)
	})
}

// A journal that does not answer keeps nobody from hearing the rest.
func TestLoopLogInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := LoopLog{Where: "journalctl -u boot-kubelet", Tail: func(ctx context.Context, _ int) []string {
			<-ctx.Done()
			return nil
		}}
		_, err := await(t, &waitControlPlane{
			probes: []probe{never("etcd")}, components: nothing, service: &fakeService{}, timeout: time.Minute, log: hangs, node: "node1",
		})
		wantError(t, err, "does not run\netcd has no container yet", "")
	})
}
