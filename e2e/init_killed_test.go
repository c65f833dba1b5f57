package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

// However often init is ended, and wherever, the same command goes on from
// there: with the CAs, the pods and the data there are.
func TestInitInterrupted(t *testing.T) {
	n := machine(t)
	kept := &things{node: n}
	for _, c := range []struct {
		at     string // what init says when it gets the signal
		signal syscall.Signal
	}{
		{"[kubelet-start] start the kubelet loop", syscall.SIGKILL},
		{"[certs/etcd-ca] done", syscall.SIGKILL},
		{"[etcd/local] done", syscall.SIGINT},
		{"[wait-control-plane] waiting:", syscall.SIGKILL},
		{"[addon/coredns] done", syscall.SIGKILL},
		{"[bootstrap-token] create", syscall.SIGINT},
	} {
		t.Run(strings.Join([]string{c.signal.String(), "at", c.at}, " "), func(t *testing.T) {
			said, code := interrupt(t, n, c.at, c.signal)
			if c.signal == syscall.SIGINT && (code != 1 || !strings.Contains(said, "error: phase ")) {
				t.Errorf("exit code %d: %s", code, said)
			}
			kept.compare(t)
		})
	}
	n.Boot(t, "init")
	waitReady(t, n)
	kept.compare(t)
	checkFiles(t, n)
	if kept.uid == "" || len(kept.pods) == 0 {
		t.Errorf("nothing was there to be kept: %+v", kept)
	}
}

// interrupt runs init until it says a line, and then sends it a signal. It
// returns what it said and its exit code.
func interrupt(t *testing.T, n *lab.Node, at string, signal syscall.Signal, args ...string) (said string, code int) {
	t.Helper()
	// Phases without changes have their say, too.
	return cut(t, n, signal, append([]string{"init", "-v", "1"}, args...), at)
}

// cut runs boot until it says one of some lines, and then sends it a signal. It
// returns what it said and its exit code.
func cut(t *testing.T, n *lab.Node, signal syscall.Signal, args []string, at ...string) (said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience) // components take turns
	defer cancel()
	cmd := n.Command(ctx, append([]string{lab.BootBinary(t)}, args...)...)
	var all strings.Builder
	var sent time.Time
	err := eachLine(n, cmd, func(line string) {
		all.WriteString(line + "\n")
		is := func(start string) bool { return strings.HasPrefix(line, start) }
		if sent.IsZero() && slices.ContainsFunc(at, is) {
			sent = time.Now()
			if err := cmd.Process.Signal(signal); err != nil {
				t.Error(err)
			}
		}
	})
	if sent.IsZero() {
		t.Fatalf("it ended before it said %q: %v\n%s", at, err, all.String())
	}
	if took := time.Since(sent); took > atOnce {
		t.Errorf("it took %s to end", took)
	}
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Errorf("it ended with %v: %s", err, all.String())
	}
	return all.String(), cmd.ProcessState.ExitCode()
}

// things are what must stay once it is there.
type things struct {
	node    *lab.Node
	secrets map[string]string // digests of CAs and the key of service accounts
	pods    map[string]string // IDs of sandboxes, and of the container of etcd
	uid     string            // of a namespace, which is data of etcd
}

// atOnce is how long boot may take to end when it is told to, with the machine busy.
// What it waits for otherwise takes minutes.
const atOnce = time.Minute

// compare looks at everything, and reports what is not as it was last time.
func (k *things) compare(t *testing.T) {
	t.Helper()
	had := *k
	k.look(t)
	for what, pair := range map[string][2]map[string]string{
		"secrets": {had.secrets, k.secrets},
		"pods":    {had.pods, k.pods},
		"data":    {{"uid": had.uid}, {"uid": k.uid}},
	} {
		before, after := pair[0], maps.Clone(pair[1])
		maps.DeleteFunc(before, func(_, v string) bool { return v == "" })
		maps.DeleteFunc(after, func(key, _ string) bool { return before[key] == "" }) // new
		if diff := cmp.Diff(before, after); diff != "" && len(before) > 0 {
			t.Errorf("%s (-before +after):\n%s", what, diff)
		}
	}
}

func (k *things) look(t *testing.T) {
	t.Helper()
	k.secrets = map[string]string{}
	sums := k.node.Run(t, "sh", "-c", "cd /etc/kubernetes/pki && sha256sum ca.* etcd/ca.* front-proxy-ca.* sa.* || true")
	for line := range strings.Lines(sums) {
		digest, path, _ := strings.Cut(strings.TrimSpace(line), "  ")
		k.secrets[path] = digest
	}
	if k.node.Exists(t, engineSocket) {
		client := engineClient(t, k.node)
		once(t, len(k.pods) > 0, "see the pods", func(ctx context.Context) error { return k.lookAtPods(ctx, client) })
	}
	if conf := "/etc/kubernetes/super-admin.conf"; k.node.Exists(t, conf) {
		client := k.node.Client(t, conf)
		once(t, k.uid != "", "see the data", func(ctx context.Context) error {
			system, err := client.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
			if err == nil {
				k.uid = string(system.UID)
			}
			return err
		})
	}
}

// once looks at what may not be up yet, or, if it has been, until it is.
func once(t *testing.T, up bool, what string, look func(context.Context) error) {
	t.Helper()
	if up {
		lab.Until(t, patience, what, look)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = look(ctx)
}

// lookAtPods notes what runs. Of the containers, only that of etcd needs nobody: the
// others end by themselves if they have to do without etcd or each other for too long,
// and are started again.
func (k *things) lookAtPods(ctx context.Context, client cri.RuntimeServiceClient) error {
	list, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{
		Filter: &cri.PodSandboxFilter{State: &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY}},
	})
	if err != nil {
		return err
	}
	all, err := lab.Containers(ctx, client)
	if err != nil {
		return err
	}
	k.pods = map[string]string{}
	for _, p := range list.Items {
		k.pods[p.Metadata.Namespace+"/"+p.Metadata.Name] = p.Id
	}
	if c, ok := all["kube-system/etcd-"+k.node.Name+"/etcd"]; ok {
		k.pods["container of etcd"] = fmt.Sprint(c.ID, " attempt ", c.Attempt)
	}
	return nil
}
