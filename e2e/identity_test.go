package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/e2e/internal/lab"
)

const identityConfig = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{token: ` + token + `}]
nodeRegistration:
  kubeletExtraArgs:
  - {name: image-credential-provider-config, value: /etc/credentials.yaml}
  - {name: image-credential-provider-bin-dir, value: /usr/local/credentials}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {nodefs.available: "0%", imagefs.available: "0%"}
`

const credentialConfig = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- {name: lab, apiVersion: credentialprovider.kubelet.k8s.io/v1, matchImages: ["127.0.0.*:%s"], defaultCacheDuration: 1m, args: [plugin]}
`

// credentialPlugin logs in at whatever registry it is asked for, and notes that it
// was.
const credentialPlugin = `#!/bin/sh
cat >>/tmp/asked
echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse",
"cacheKeyType":"Registry","auth":{"127.0.0.*:%s":{"username":"'$1'","password":"right"}}}'
`

// TestIdentity looks at who nodes are to others: their certificates, asked for,
// approved and signed by the cluster, and what they show registries.
func TestIdentity(t *testing.T) {
	lan := lab.NewLAN(t)
	n := lan.Node(t, "node1")
	n.Import(t)
	t.Cleanup(func() { checkLog(t, n) })
	r := n.NewRegistry(t, map[string]string{"plugin": "right"})
	_, port, _ := strings.Cut(r.Addr, ":")
	plugin := "/usr/local/credentials/lab"
	n.WriteFile(t, plugin, fmt.Sprintf(credentialPlugin, port))
	n.Run(t, "chmod", "755", plugin)
	n.WriteFile(t, "/etc/credentials.yaml", fmt.Sprintf(credentialConfig, port))
	n.WriteFile(t, "/root/kubeadm.yaml", identityConfig)
	n.Boot(t, "init", "--config", "/root/kubeadm.yaml")
	client := n.Client(t, adminConf)
	openNode(t, client, n)

	t.Run("the files are upstream's", func(t *testing.T) { checkClientFiles(t, n) })
	t.Run("the serving certificate is signed", func(t *testing.T) { checkServing(t, n, client) })
	t.Run("a credential provider", func(t *testing.T) {
		c := newPodCluster(t, n, client)
		c.Create(t, imagePod("box", r.Image("box:1")))
		c.AwaitReady(t, "box")
		if got := r.Pulled(); !slices.Contains(got, "plugin") {
			t.Errorf("pulled by %q", got)
		}
		if got := n.ReadFile(t, "/tmp/asked"); !strings.Contains(got, `"image":"`+r.Image("box")+`"`) {
			t.Errorf("asked %s", got)
		}
	})
	t.Run("a node that asks for its certificate", func(t *testing.T) { checkBootstrap(t, n, lan.Node(t, "node2"), client) })
}

// checkClientFiles looks at the client certificate of a node of the control plane.
func checkClientFiles(t *testing.T, n *lab.Node) {
	const current = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	if link := strings.TrimSpace(n.Run(t, "readlink", current)); !strings.HasPrefix(link, "/var/lib/kubelet/pki/kubelet-client-20") {
		t.Errorf("link %q", link)
	}
	conf := n.ReadFile(t, "/etc/kubernetes/kubelet.conf")
	for _, want := range []string{"client-certificate: " + current, "client-key: " + current} {
		if !strings.Contains(conf, want) {
			t.Errorf("kubelet.conf lacks %s:\n%s", want, conf)
		}
	}
}

// checkServing calls the node as somebody who trusts the cluster's authority alone.
func checkServing(t *testing.T, n *lab.Node, client kubernetes.Interface) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(n.ReadFile(t, "/etc/kubernetes/pki/ca.crt")))
	lab.Until(t, patience, "see the request approved", func(ctx context.Context) error {
		list, err := client.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{
			FieldSelector: "spec.signerName=" + certificatesv1.KubeletServingSignerName,
		})
		if err != nil {
			return err
		}
		for _, r := range list.Items {
			if len(r.Status.Conditions) > 0 && r.Status.Conditions[0].Reason == "AutoApproved" {
				return nil
			}
		}
		return fmt.Errorf("requests are %+v", list.Items)
	})
	const current = "/var/lib/kubelet/pki/kubelet-server-current.pem"
	lab.Until(t, patience, "see the certificate", func(ctx context.Context) error {
		conn, err := n.Dial(ctx, "tcp", n.IP.String()+":10250")
		if err != nil {
			return err
		}
		c := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: n.IP.String()})
		defer func() { _ = c.Close() }() // it was only greeted
		if err := c.HandshakeContext(ctx); err != nil {
			return err
		}
		if !n.Exists(t, current) {
			return errors.New("there is no " + current)
		}
		cert := c.ConnectionState().PeerCertificates[0]
		if block, _ := pem.Decode([]byte(n.ReadFile(t, current))); block == nil || !bytes.Equal(block.Bytes, cert.Raw) {
			return errors.New("it is another than that of the file")
		}
		if cert.Subject.CommonName != "system:node:"+n.Name || !slices.Contains(cert.DNSNames, n.Name) {
			return fmt.Errorf("certificate of %s for %q", cert.Subject, cert.DNSNames)
		}
		return nil
	})
}

// checkBootstrap starts the loop on another node that has nothing but a token.
func checkBootstrap(t *testing.T, first, n *lab.Node, client kubernetes.Interface) {
	ca := first.ReadFile(t, "/etc/kubernetes/pki/ca.crt")
	n.WriteFile(t, "/etc/kubernetes/pki/ca.crt", ca)
	n.WriteFile(t, "/etc/kubernetes/bootstrap-kubelet.conf", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s:6443", certificate-authority-data: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, first.IP, base64.StdEncoding.EncodeToString([]byte(ca)), token))
	n.WriteFile(t, "/etc/kubelet.yaml", first.ReadFile(t, "/var/lib/kubelet/config.yaml"))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	log := new(strings.Builder)
	cmd := n.Command(ctx, lab.BootBinary(t), "kubelet", "--config", "/etc/kubelet.yaml",
		"--kubeconfig", "/etc/kubernetes/kubelet.conf", "--bootstrap-kubeconfig", "/etc/kubernetes/bootstrap-kubelet.conf")
	cmd.Stderr = log
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			showLog(t, n.Name+":kubelet", log.String())
		}
	})
	lab.Until(t, 2*patience, "see "+n.Name+" registered", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(node.Status.Addresses) == 0 || node.Status.Addresses[0] != (corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: n.IP.String()}) {
			return fmt.Errorf("addresses %v", node.Status.Addresses)
		}
		return nil
	})
	checkClientFiles(t, n)
	lab.Until(t, patience, "see both certificates of "+n.Name+" signed", func(ctx context.Context) error {
		list, err := client.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		signed := map[string]string{}
		for _, r := range list.Items {
			if len(r.Status.Certificate) > 0 {
				signed[r.Spec.SignerName+" "+r.Spec.Username] = r.Name
			}
		}
		if signed[certificatesv1.KubeAPIServerClientKubeletSignerName+" system:bootstrap:"+strings.Split(token, ".")[0]] == "" {
			return fmt.Errorf("no client certificate: %v", signed)
		}
		if signed[certificatesv1.KubeletServingSignerName+" system:node:"+n.Name] == "" {
			return fmt.Errorf("no serving certificate: %v", signed)
		}
		return nil
	})
}
