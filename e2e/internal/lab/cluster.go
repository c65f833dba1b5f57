package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// A Cluster is what the nodes of one cluster of boot's have in common: what one
// has to know to join it.
type Cluster struct {
	Boot      string // the binary
	DualStack bool   // pods and Services have IPv6 addresses, too
	Settings  string // further lines of its ClusterConfiguration

	first *Node
	token string // for two hours, like the certificates' key
	key   string
	hash  string // of the CA
}

// NewCluster returns a cluster that is still to be made.
func NewCluster(boot string) *Cluster {
	secret := func(bytes int) string {
		b := make([]byte, bytes)
		_, _ = rand.Read(b) // never fails
		return hex.EncodeToString(b)
	}
	return &Cluster{Boot: boot, token: secret(3) + "." + secret(8), key: secret(32)}
}

// initConfig is what boot init is told. How full the disk is is none of the
// nodes' business: it is that of the machine below.
const initConfig = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
certificateKey: %s
bootstrapTokens:
- token: %s
  ttl: 2h0m0s
  groups: [system:bootstrappers:kubeadm:default-node-token]
  usages: [signing, authentication]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
%s---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
`

// dualStack is what a ClusterConfiguration says to have it.
const dualStack = `networking: {podSubnet: "10.244.0.0/16,fd00:244::/56", serviceSubnet: "10.96.0.0/16,fd00:96::/112"}
`

// Init makes the cluster on its first node. What boot says goes to said.
func (c *Cluster) Init(ctx context.Context, n *Node, said io.Writer) error {
	const file = "/root/init.yaml"
	settings := c.Settings
	if c.DualStack {
		settings += dualStack
	}
	config := fmt.Sprintf(initConfig, c.key, c.token, settings)
	if err := n.Do(func() error { return os.WriteFile(file, []byte(config), 0o600) }); err != nil {
		return err
	}
	if err := n.say(ctx, said, c.Boot, "init", "--config", file, "--upload-certs"); err != nil {
		return err
	}
	c.first = n
	var err error
	if c.hash, err = hashCA(n); err != nil {
		return err
	}
	return n.Signed(ctx, c.token)
}

// hashCA returns the hash of the public key of the cluster's CA.
func hashCA(n *Node) (string, error) {
	var data []byte
	if err := n.Do(func() (err error) { data, err = os.ReadFile("/etc/kubernetes/pki/ca.crt"); return err }); err != nil {
		return "", err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return "", errors.New("the CA of the cluster is no PEM")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(ca.RawSubjectPublicKeyInfo)), nil
}

// JoinWorker returns the command line with which a node joins as a worker.
func (c *Cluster) JoinWorker() []string {
	return []string{c.Boot, "join", c.first.IP.String() + ":6443", "--token", c.token, "--discovery-token-ca-cert-hash", c.hash}
}

// JoinControlPlane returns the command line with which a node joins as one more
// control plane.
func (c *Cluster) JoinControlPlane() []string {
	return append(c.JoinWorker(), "--control-plane", "--certificate-key", c.key)
}

// Join has nodes join, all at once, and returns when the last has. What boot says
// goes to said, each line with the name of its node.
func (c *Cluster) Join(ctx context.Context, said io.Writer, controlPlanes, workers []*Node) error {
	said = &lockedWriter{w: said}
	errs := make([]error, len(controlPlanes)+len(workers))
	var group sync.WaitGroup
	for i, n := range append(append([]*Node{}, controlPlanes...), workers...) {
		args := c.JoinWorker()
		if i < len(controlPlanes) {
			args = c.JoinControlPlane()
		}
		group.Go(func() { errs[i] = n.say(ctx, said, args...) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// say runs a program that is to succeed, and copies what it says line by line.
func (n *Node) say(ctx context.Context, said io.Writer, args ...string) error {
	cmd := n.Command(ctx, args...)
	w := &lineWriter{w: said, prefix: n.Name + ": "}
	cmd.Stdout, cmd.Stderr = w, w
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	w.flush()
	if err != nil {
		return fmt.Errorf("boot %s on %s: %w: %s", args[1], n.Name, err, w.last)
	}
	return nil
}

// A lineWriter passes whole lines on, each with a prefix.
type lineWriter struct {
	w      io.Writer
	prefix string
	rest   bytes.Buffer
	last   string // line that was passed on
}

func (l *lineWriter) Write(data []byte) (int, error) {
	l.rest.Write(data)
	for {
		line, err := l.rest.ReadString('\n')
		if err != nil {
			l.rest.WriteString(line) // not yet whole
			return len(data), nil
		}
		l.pass(line)
	}
}

// flush passes on a line without an end.
func (l *lineWriter) flush() {
	if l.rest.Len() > 0 {
		l.pass(l.rest.String() + "\n")
	}
}

func (l *lineWriter) pass(line string) {
	l.last = strings.TrimSpace(line)
	_, _ = io.WriteString(l.w, l.prefix+line) // nobody may want to know
}

// A lockedWriter may be written to by several at once.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(data)
}
