package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"boot.internal/e2e/internal/lab"
)

// poll checks again and again until it is well, with little between, since what
// it finds is measured.
func poll(b *testing.B, what string, check func(ctx context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			b.Fatalf("%s: %v", what, err)
		}
	}
}

// benchInit measures "boot init" on a fresh host, then, on the same host with
// everything stopped, etcd and kube-apiserver as plain processes: the very
// programs and flags of the manifests, on an empty etcd.
func benchInit(b *testing.B, results *table) {
	n := machine(b)
	begin := time.Now()
	ended := make(chan error, 1)
	var returned time.Duration // written before ended is
	go func() {
		out, err := n.Try(b.Context(), lab.BootBinary(b), "init")
		returned = time.Since(begin)
		if err == nil && out.Code != 0 {
			err = errors.New(out.Stdout + out.Stderr)
		}
		ended <- err
	}()
	poll(b, "see the API server ready", readyz(n, ended))
	answers := time.Since(begin)
	poll(b, "see everything Ready", allReady(n, n.Client(b, adminConf), components()...))
	all := time.Since(begin)
	if err := <-ended; err != nil {
		b.Fatal(err)
	}

	bare := byHand(b, n)
	results.row("boot init → /readyz", seconds, "≤ 1.25").took(answers, bare)
	results.row("boot init → all Ready; bare: kubeadm and kubelet", seconds, "≤ 0.35").took(all, 0)
	results.row("boot init → returned", seconds, "").took(returned, bare)
	b.ReportMetric(answers.Seconds(), "s/readyz")
	b.ReportMetric(all.Seconds(), "s/ready")
	b.ReportMetric(bare.Seconds(), "s/bare-readyz")
}

// readyz returns a check of the API server, which ends early if boot does.
func readyz(n *lab.Node, ended chan error) func(context.Context) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DialContext:     n.Dial,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // there is no certificate to trust yet
	}}
	url := "https://" + n.IP.String() + ":6443/readyz"
	return func(ctx context.Context) error {
		select {
		case err := <-ended:
			ended <- err
			if err != nil {
				return err
			}
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %s", resp.Status)
		}
		return nil
	}
}

// allReady returns a check of mirror pods, the node and CoreDNS.
func allReady(n *lab.Node, client kubernetes.Interface, components ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		dns, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if have := dns.Status.AvailableReplicas; have < *dns.Spec.Replicas {
			return fmt.Errorf("%d of %d CoreDNS are available", have, *dns.Spec.Replicas)
		}
		for _, name := range components {
			if err := ready(ctx, client, name+"-"+n.Name); err != nil {
				return err
			}
		}
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("the node is not Ready")
	}
}

// byHand stops all that runs on the node and measures etcd and kube-apiserver
// started by hand, the best of two times.
func byHand(b *testing.B, n *lab.Node) time.Duration {
	b.Helper()
	commands := map[string][]string{}
	for _, c := range containers(b, n) {
		component := c.Name
		if component != "etcd" && component != "kube-apiserver" {
			continue
		}
		program := filepath.Join("/var/lib/bare", component)
		n.Run(b, "install", "-D", fmt.Sprintf("/proc/%d/exe", c.PID), program)
		commands[component] = append([]string{program}, command(b, n, component)[1:]...)
	}
	best := time.Hour
	for range 2 {
		stopAll(b, n)
		n.Remove(b, "/var/lib/etcd")
		for _, port := range []string{"2379", "2380", "6443"} {
			poll(b, "see port "+port+" free", free(n, port)) // the dying hold on to theirs for a moment
		}
		best = min(best, startByHand(b, n, commands))
	}
	return best
}

// free returns a check of a port that is to be listened on.
func free(n *lab.Node, port string) func(context.Context) error {
	return func(context.Context) error {
		l, err := n.Listen("tcp", n.IP.String()+":"+port)
		if err != nil {
			return err
		}
		return l.Close()
	}
}

// command returns what a static pod runs.
func command(b *testing.B, n *lab.Node, component string) []string {
	b.Helper()
	var p corev1.Pod
	if err := yaml.Unmarshal([]byte(n.ReadFile(b, "/etc/kubernetes/manifests/"+component+".yaml")), &p); err != nil {
		b.Fatal(err)
	}
	return p.Spec.Containers[0].Command
}

func startByHand(b *testing.B, n *lab.Node, commands map[string][]string) time.Duration {
	b.Helper()
	begin := time.Now()
	for _, component := range []string{"etcd", "kube-apiserver"} {
		cmd := n.Command(context.WithoutCancel(b.Context()), commands[component]...)
		said := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = said, said
		if err := n.Start(cmd); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = cmd.Wait() // it was killed
			if b.Failed() {
				b.Logf("%s: %s", component, said.Bytes()[max(0, said.Len()-4000):])
			}
		})
	}
	b.Cleanup(func() { stopAll(b, n) })
	poll(b, "see the API server by hand ready", readyz(n, make(chan error, 1)))
	return time.Since(begin)
}

// stopAll kills the processes of a node until there are none. Supervisors may
// start new ones in between.
func stopAll(b *testing.B, n *lab.Node) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		kill := []string{"kill", "-9"}
		for _, p := range n.Processes(b) {
			kill = append(kill, strconv.Itoa(p.PID))
		}
		if len(kill) == 2 {
			return
		}
		_, _ = n.Try(ctx, kill...) // some end by themselves
	}
	b.Fatalf("still running: %v", n.Processes(b))
}
