package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// An otherNode is a further node of a cluster whose certificates live for minutes.
type otherNode struct {
	*lab.Node
	client, serving *x509.Certificate // of the kubelet, at first
}

// checkJoined has a second control plane and a worker join, whose certificates then
// end at another time than those of the first.
func checkJoined(t *testing.T, c *certsCluster) {
	c.fleet.join(t, c.fleet.heads[1:], c.fleet.workers)
	c.fleet.awaitNodes(t, c.fleet.nodes()...)
	for _, n := range c.fleet.nodes()[1:] {
		o := &otherNode{Node: n, client: certificateIn(t, n, clientFile)}
		lab.Until(t, patience, "see "+n.Name+" serve with what the cluster has signed", func(ctx context.Context) (err error) {
			o.serving, err = c.serving(ctx, t, n)
			return err
		})
		c.others = append(c.others, o)
	}
}

// checkOthers waits until each of the others has renewed what it holds, by itself and
// without a break.
func checkOthers(t *testing.T, c *certsCluster) {
	for _, o := range c.others {
		c.awaitNewIdentity(t, o)
	}
	second, worker := &certsCluster{Node: c.others[0].Node}, &certsCluster{Node: c.others[1].Node}
	lab.Until(t, 6*time.Minute, "see the second control plane tell of its own", func(ctx context.Context) error {
		return renewedBy(ctx, t, c.Node, second)
	})
	first := c.list(t)
	for name, l := range second.list(t) {
		if first[name].Path == "" || l.unattended() && l.RemainingSeconds < 30*60 {
			t.Errorf("%+v", l)
		}
	}
	if held := worker.list(t); len(held) != 3 || held["kubelet.conf"].State == "" || held["kubelet-serving"].State == "" || !held["ca"].ExternallyManaged {
		t.Errorf("the worker holds %+v", held)
	}
}

// awaitNewIdentity waits until the kubelet of a node has another client certificate
// and reports by it after the end of the first, and serves with another as well.
func (c *certsCluster) awaitNewIdentity(t *testing.T, o *otherNode) {
	t.Helper()
	lab.Until(t, 6*time.Minute, "see "+o.Name+" report after the end of its first certificate", func(ctx context.Context) error {
		lease, err := c.Client(t, adminConf).CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, o.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if end := o.client.NotAfter; !lease.Spec.RenewTime.After(end) {
			return fmt.Errorf("it was last heard of at %s, and its certificate ends at %s", lease.Spec.RenewTime, end)
		}
		return nil
	})
	if certificateIn(t, o.Node, clientFile).Equal(o.client) {
		t.Errorf("%s has its first client certificate", o.Name)
	}
	lab.Until(t, 6*time.Minute, "see "+o.Name+" serve with another certificate", func(ctx context.Context) error {
		now, err := c.serving(ctx, t, o.Node)
		if err == nil && now.Equal(o.serving) {
			err = fmt.Errorf("it is the first, which ends at %s", now.NotAfter)
		}
		return err
	})
}

// serving greets the kubelet of a node as somebody who trusts the cluster's authority
// alone, and returns what it shows.
func (c *certsCluster) serving(ctx context.Context, t *testing.T, n *lab.Node) (*x509.Certificate, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.ReadFile(t, "/etc/kubernetes/pki/ca.crt")))
	conn, err := n.Dial(ctx, "tcp", n.IP.String()+":10250")
	if err != nil {
		return nil, err
	}
	client := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: n.IP.String()})
	defer func() { _ = client.Close() }() // it was only greeted
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

// clientFile is where a node has its identity.
const clientFile = "/var/lib/kubelet/pki/kubelet-client-current.pem"

// certificateIn returns the first certificate of a file.
func certificateIn(t *testing.T, n *lab.Node, path string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(n.ReadFile(t, path)))
	if block == nil {
		t.Fatalf("%s on %s has no certificate", path, n.Name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	lab.Must(t, err)
	return cert
}

// renewedBy says of which certificates a node has not told that it has renewed them.
// It need not tell of all at once: they end at whole minutes, and those of a node may
// have been made in the last seconds of one and the first of another.
func renewedBy(ctx context.Context, t *testing.T, at *lab.Node, node *certsCluster) error {
	t.Helper()
	events, err := at.Client(t, adminConf).CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=CertificatesRenewed"})
	if err != nil {
		return err
	}
	var told []string
	for _, e := range events.Items {
		if names, ok := strings.CutPrefix(e.Message, "Renewed "); ok && e.InvolvedObject.Kind == "Node" && e.InvolvedObject.Name == node.Name {
			told = append(told, strings.Split(names, ", ")...)
		}
	}
	for name, l := range node.list(t) {
		if l.unattended() && !slices.Contains(node.byHand, name) && !slices.Contains(told, name) {
			return fmt.Errorf("it has told nothing of %s, but of %v", name, told)
		}
	}
	return nil
}
