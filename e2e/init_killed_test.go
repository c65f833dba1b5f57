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

	"boot.internal/e2e/internal/lab"
)

// However often init is ended, and wherever, the same command goes on from
// there: with the CAs, the containers and the data there are.
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
	if kept.uid == "" || len(kept.running) == 0 {
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
	running map[string]string // IDs of containers
	uid     string            // of a namespace, which is data of etcd
}

// atOnce is how long boot may take to end when it is told to, with the machine busy.
// What it waits for otherwise takes minutes.
const atOnce = 20 * time.Second

// compare looks at everything, and reports what is not as it was last time.
func (k *things) compare(t *testing.T) {
	t.Helper()
	had := *k
	k.look(t)
	for what, pair := range map[string][2]map[string]string{
		"secrets":    {had.secrets, k.secrets},
		"containers": {had.running, k.running},
		"data":       {{"uid": had.uid}, {"uid": k.uid}},
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
	k.secrets, k.running = map[string]string{}, map[string]string{}
	sums := k.node.Run(t, "sh", "-c", "cd /etc/kubernetes/pki && sha256sum ca.* etcd/ca.* front-proxy-ca.* sa.* || true")
	for line := range strings.Lines(sums) {
		digest, path, _ := strings.Cut(strings.TrimSpace(line), "  ")
		k.secrets[path] = digest
	}
	if k.node.Exists(t, engineSocket) {
		if all, err := lab.Containers(t.Context(), engineClient(t, k.node)); err == nil { // it may just be starting
			for name, c := range all {
				k.running[name] = fmt.Sprint(c.ID, " attempt ", c.Attempt)
			}
		}
	}
	if conf := "/etc/kubernetes/super-admin.conf"; k.node.Exists(t, conf) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		system, err := k.node.Client(t, conf).CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
		if err == nil { // not yet up
			k.uid = string(system.UID)
		}
	}
}
