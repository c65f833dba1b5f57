package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// certsSettings make certificates that live for minutes, those which the cluster
// signs among them.
const certsSettings = `certificateValidityPeriod: 4m
controllerManager:
  extraArgs: [{name: cluster-signing-duration, value: 4m}]
`

// A certsCluster is a cluster whose certificates live for minutes.
type certsCluster struct {
	*lab.Node
	pods   map[string]lab.Container // what ran at first
	client string                   // the kubelet's client certificate at first
	byHand []string                 // what somebody has renewed

	fleet  *fleet
	others []*otherNode
}

// TestCertificates looks at certificates from their first to their last day.
func TestCertificates(t *testing.T) {
	t.Parallel()
	f := emptyFleet(t, 2, 1)
	f.cluster.Settings = certsSettings
	lab.Must(t, f.cluster.Init(t.Context(), f.heads[0], t.Output()))
	n := f.heads[0]
	f.client = n.Client(t, adminConf)
	waitReady(t, n)
	c := &certsCluster{Node: n, fleet: f, pods: containers(t, n)}
	c.client = n.ReadFile(t, clientFile)
	// Before the loop renews any, which it does two minutes and a half after they were
	// made.
	c.watched(t, []certsStep{
		{"they are listed", checkListed},
		{"wrong names", checkNames},
		{"a dry run", checkDryRun},
		{"an external authority", checkExternal},
		{"requests", checkRequests},
	})
	// A second member of etcd is waited for while it joins, by the API as well.
	t.Run("other nodes join", func(t *testing.T) { checkJoined(t, c) })
	c.watched(t, []certsStep{
		{"they renew themselves", checkUnattended},
		{"those of others, too", checkOthers},
		{"a renewal that is killed", checkRenewalKilled},
		{"what is no good goes back", checkGoesBack},
		{"a node whose certificate has ended", checkExpired},
		{"everything at once", checkRenewAll},
	})
}

type certsStep struct {
	name string
	test func(*testing.T, *certsCluster)
}

// watched takes steps while the API has to answer.
func (c *certsCluster) watched(t *testing.T, steps []certsStep) {
	t.Helper()
	watch := watchAPI(t, c.Node)
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) { s.test(t, c) })
	}
	if gaps := watch(); len(gaps) > 0 {
		t.Errorf("the API did not answer %d times: %s", len(gaps), strings.Join(gaps[:min(5, len(gaps))], "; "))
	}
}

// certs runs boot certs, which is to end with a code, and returns what it said.
func (c *certsCluster) certs(t *testing.T, code int, args ...string) lab.Output {
	t.Helper()
	out, err := c.Try(t.Context(), append([]string{lab.BootBinary(t), "certs"}, args...)...)
	if err != nil || out.Code != code {
		t.Fatalf("boot certs %s: %v, exit code %d, want %d\n%s%s", strings.Join(args, " "), err, out.Code, code, out.Stdout, out.Stderr)
	}
	return out
}

type listedCert struct {
	Name, Path, CA, State string
	RemainingSeconds      int64
	ExternallyManaged     bool
}

// unattended says whether it is for the loop to renew it, without asking the cluster.
func (l listedCert) unattended() bool {
	return l.CA != "" && !strings.HasPrefix(l.Name, "kubelet")
}

// list returns the certificates by name, whatever state they are in.
func (c *certsCluster) list(t *testing.T) map[string]listedCert {
	t.Helper()
	out, err := c.Try(t.Context(), lab.BootBinary(t), "certs", "check", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var all []listedCert
	if err := json.Unmarshal([]byte(out.Stdout), &all); err != nil {
		t.Fatalf("%v\n%s%s", err, out.Stdout, out.Stderr)
	}
	by := map[string]listedCert{}
	for _, l := range all {
		by[l.Name] = l
	}
	return by
}

func checkListed(t *testing.T, c *certsCluster) {
	var all map[string]listedCert
	lab.Until(t, patience, "see what the node serves with among them", func(context.Context) error { // the cluster signs it once it is up
		if all = c.list(t); all["kubelet-serving"].Path == "" || all["kubelet-serving"].RemainingSeconds <= 0 {
			return fmt.Errorf("there are %+v", all)
		}
		return nil
	})
	for _, name := range []string{
		"ca", "front-proxy-ca", "etcd-ca", "etcd-server", "etcd-peer", "etcd-healthcheck-client", "apiserver-etcd-client", "apiserver",
		"apiserver-kubelet-client", "front-proxy-client", "admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf",
		"kubelet.conf", "kubelet-serving",
	} {
		l, ok := all[name]
		if !ok || l.Path == "" || l.ExternallyManaged || l.RemainingSeconds <= 0 || (l.CA == "") != strings.HasSuffix(name, "ca") {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if got := all["apiserver"]; got.CA != "ca" || got.RemainingSeconds > 5*60 && !c.renewed(t) { // ends are rounded to minutes
		t.Errorf("%+v", got)
	}
	table := c.certs(t, 4, "check-expiration", "--warn", "1d")
	if !strings.Contains(table.Stdout, "NAME ") || !strings.Contains(table.Stdout, "EXTERNALLY MANAGED") || !strings.Contains(table.Stderr, "about to end: ") {
		t.Errorf("%s%s", table.Stdout, table.Stderr)
	}
	c.certs(t, 0, "check", "--warn", "1s", "-o", "yaml")
}

// renewed says whether the loop has renewed the certificate of the API server, as it
// does two minutes and a half after both were made, its authority and it. When they
// begin is rounded to minutes.
func (c *certsCluster) renewed(t *testing.T) bool {
	t.Helper()
	const pki = "/etc/kubernetes/pki/"
	return certificateIn(t, c.Node, pki+"apiserver.crt").NotBefore.Sub(certificateIn(t, c.Node, pki+"ca.crt").NotBefore) > time.Minute
}

func checkNames(t *testing.T, c *certsCluster) {
	out := c.certs(t, 3, "renew", "admin.conf", "apiservr")
	if !strings.Contains(out.Stderr, `no certificate is called "apiservr"`) || !strings.Contains(out.Stderr, "apiserver-kubelet-client") {
		t.Error(out.Stderr)
	}
	c.certs(t, 3, "renew", "--validity", "soon")
	c.certs(t, 3, "check", "-o", "xml")
}

func checkDryRun(t *testing.T, c *certsCluster) {
	before := c.ReadFile(t, "/etc/kubernetes/scheduler.conf")
	lab.Until(t, patience, "see that nothing is renewed", func(context.Context) error { // the loop may renew it meanwhile, once
		out := c.certs(t, 0, "renew", "all", "--dry-run")
		if !strings.Contains(out.Stderr, "would renew /etc/kubernetes/scheduler.conf") {
			t.Error(out.Stderr)
		}
		was := before
		if before = c.ReadFile(t, "/etc/kubernetes/scheduler.conf"); before != was {
			return errors.New("it is renewed")
		}
		return nil
	})
}

// checkExternal has the key of an authority be somewhere else.
func checkExternal(t *testing.T, c *certsCluster) {
	const key, away = "/etc/kubernetes/pki/front-proxy-ca.key", "/root/front-proxy-ca.key"
	c.Rename(t, key, away)
	defer c.Rename(t, away, key)
	if l := c.list(t); !l["front-proxy-client"].ExternallyManaged || l["apiserver"].ExternallyManaged {
		t.Errorf("%+v", l)
	}
	peer, proxy := c.ReadFile(t, "/etc/kubernetes/pki/etcd/peer.crt"), c.ReadFile(t, "/etc/kubernetes/pki/front-proxy-client.crt")
	out := c.certs(t, 1, "renew", "front-proxy-client", "etcd-peer")
	c.byHand = append(c.byHand, "etcd-peer")
	if !strings.Contains(out.Stderr, "the key of its authority is not on this machine") || !strings.Contains(out.Stderr, "generate-csr") {
		t.Error(out.Stderr)
	}
	if c.ReadFile(t, "/etc/kubernetes/pki/etcd/peer.crt") == peer || c.ReadFile(t, "/etc/kubernetes/pki/front-proxy-client.crt") != proxy {
		t.Error("not the one that can be is renewed, and the other is not")
	}
}

func checkRequests(t *testing.T, c *certsCluster) {
	c.certs(t, 0, "generate-csr", "--cert-dir", "/root/csr/pki", "--kubeconfig-dir", "/root/csr")
	for _, path := range []string{"pki/apiserver.key", "pki/apiserver.csr", "pki/etcd/server.csr", "admin.conf", "admin.conf.csr"} {
		if !c.Exists(t, "/root/csr/"+path) {
			t.Errorf("there is no %s", path)
		}
	}
}

// checkUnattended waits until the loop has renewed what is about to end, and looks
// at whom that disturbed.
func checkUnattended(t *testing.T, c *certsCluster) {
	lab.Until(t, 6*time.Minute, "see it told", func(ctx context.Context) error {
		return renewedBy(ctx, t, c.Node, c)
	})
	for _, l := range c.list(t) {
		if l.unattended() && l.RemainingSeconds < 30*60 { // what is renewed lives an hour at least
			t.Errorf("%+v", l)
		}
	}
	lab.Until(t, patience, "see those replaced, and no others, that would not notice", func(context.Context) error { // who has lost his lease may just be starting
		now := containers(t, c.Node)
		for name, was := range c.pods {
			replaced := strings.Contains(name, "/kube-scheduler-") || strings.Contains(name, "/kube-controller-manager-")
			if is, ok := now[name]; !ok || (is.ID != was.ID) != replaced {
				return fmt.Errorf("%s: %+v, was %+v", name, is, was)
			}
		}
		return nil
	})
	c.checkMetrics(t)
	lab.Until(t, 4*time.Minute, "see the kubelet's own certificates signed anew", func(context.Context) error {
		if c.ReadFile(t, clientFile) == c.client {
			return errors.New("its client certificate is the first one")
		}
		serving, err := c.Try(t.Context(), "sh", "-c", "ls /var/lib/kubelet/pki/kubelet-server-2*.pem")
		if had := strings.Count(serving.Stdout, "\n"); err == nil && had < 2 {
			err = fmt.Errorf("it has served with %d certificates", had)
		}
		return err
	})
}

func (c *certsCluster) checkMetrics(t *testing.T) {
	var text string
	lab.Until(t, patience, "read the metrics", func(ctx context.Context) error { // connections are made anew with a new certificate
		out, err := c.Try(ctx, lab.Component(t, "bin/kubectl"), "get", "--raw", "/api/v1/nodes/"+c.Name+"/proxy/metrics")
		text = out.Stdout
		if err == nil && out.Code != 0 {
			err = errors.New(out.Stderr)
		}
		return err
	})
	for _, want := range []string{`boot_certificate_ttl_seconds{name="apiserver"} `, `boot_certificate_ttl_seconds{name="ca"} `, `boot_certificate_renewals_total{result="success"} `} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// killAt starts boot certs and kills it once it has said something.
func (c *certsCluster) killAt(t *testing.T, line string, args ...string) {
	t.Helper()
	cmd := c.Command(t.Context(), append([]string{lab.BootBinary(t), "certs"}, args...)...)
	var all strings.Builder
	err := eachLine(c.Node, cmd, func(said string) {
		all.WriteString(said + "\n")
		if strings.Contains(said, line) {
			_ = cmd.Process.Kill() // at once, and not when somebody gets to it; it may have ended
		}
	})
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(all.String(), line) {
		t.Fatalf("it was not killed at %q: %v\n%s", line, err, &all)
	}
}

const asides = "/var/lib/boot/rollout/"

func checkRenewalKilled(t *testing.T, c *certsCluster) {
	c.killAt(t, "renew /etc/kubernetes/pki/apiserver.crt", "renew", "all", "--validity", "90d")
	c.killAt(t, "wait for the new kube-scheduler", "renew", "scheduler.conf", "--validity", "90d")
	if !c.Exists(t, asides+"kube-scheduler.yaml") {
		t.Error("nothing is kept to go back to")
	}
	out := c.certs(t, 0, "renew", "all", "--validity", "90d")
	if !strings.Contains(out.Stdout, "scheduler.conf is good until ") {
		t.Error(out.Stdout)
	}
	for name, l := range c.list(t) {
		asked := name == "kubelet-serving" || name == "kubelet.conf" // of the cluster, by the loop, which may just be doing so
		if l.CA != "" && !asked && l.RemainingSeconds < 89*24*3600 {
			t.Errorf("%+v", l)
		}
	}
	if left := strings.TrimSpace(c.Run(t, "ls", asides)); left != "lock" {
		t.Errorf("left: %s", left)
	}
	waitReady(t, c.Node)
}

// checkGoesBack renews the scheduler's certificate for so short a time that it is
// over by the time it starts, however quick that is.
func checkGoesBack(t *testing.T, c *certsCluster) {
	before := c.ReadFile(t, "/etc/kubernetes/scheduler.conf")
	out := c.certs(t, 1, "renew", "scheduler.conf", "--validity", "1ms", "--timeout", "1m") // which the old one has, too
	for _, want := range []string{"kube-scheduler is not healthy after 1m0s", "the last lines of its log", "kube-scheduler runs with its old manifest again, and is healthy"} {
		if !strings.Contains(out.Stderr, want) {
			t.Errorf("%q is not among:\n%s", want, out.Stderr)
		}
	}
	if c.ReadFile(t, "/etc/kubernetes/scheduler.conf") != before {
		t.Error("the certificate that was good is not back")
	}
	waitReady(t, c.Node)
}

// checkExpired has the certificate end with which the node reports, while nobody
// can ask the cluster for another.
func checkExpired(t *testing.T, c *certsCluster) {
	c.certs(t, 0, "renew", "kubelet.conf", "--validity", "1s")
	const current = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	ended := c.ReadFile(t, current)
	lab.Until(t, patience, "see it end", func(context.Context) error {
		if l := c.list(t)["kubelet.conf"]; l.State != "expired" && c.ReadFile(t, current) == ended {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	c.Kill(t, awaitLoop(t, c.Node), syscall.SIGKILL) // so that it begins with a certificate that is of no use
	lab.Until(t, 2*patience, "see it renewed and used", func(ctx context.Context) error {
		if l := c.list(t)["kubelet.conf"]; l.State != "ok" || c.ReadFile(t, current) == ended {
			return fmt.Errorf("%+v", l)
		}
		lease, err := c.Client(t, adminConf).CoordinationV1().Leases("kube-node-lease").Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if age := time.Since(lease.Spec.RenewTime.Time); age > 5*time.Second {
			return fmt.Errorf("the node was last heard of %s ago", age)
		}
		return nil
	})
	waitReady(t, c.Node)
}

func checkRenewAll(t *testing.T, c *certsCluster) {
	c.certs(t, 0, "renew")
	waitReady(t, c.Node)
	lab.Until(t, patience, "see all of them well", func(context.Context) error {
		for name, l := range c.list(t) {
			// What the cluster signs lives for minutes, and the loop sees to it.
			if l.State != "ok" && name != "kubelet-serving" {
				return fmt.Errorf("%+v", l)
			}
		}
		return nil
	})
	if got := c.Run(t, "stat", "-c", "%a", filepath.Dir(asides)); strings.TrimSpace(got) != "700" {
		t.Errorf("mode %s", got)
	}
}
