package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/phases"
)

// certsFlags say where the certificates of a node are.
type certsFlags struct {
	certDir       string
	kubeconfigDir string
}

func newCerts(ui *ui) *cobra.Command {
	var f certsFlags
	c := &cobra.Command{
		Use:   "certs",
		Short: "See and renew the certificates of this node",
		Long: `See and renew the certificates of this node.

The node agent renews all of them by itself when a third of their life is left, so
this is for looking, for scripts, and for renewing at a time of one's own choosing.
Nothing but the files is asked: a node whose certificates have ended, and which
therefore reaches no API server, is helped as well.`,
		Example: `  boot certs check
  boot certs renew all
  boot certs renew apiserver --dry-run`,
		Args: noArgs,
	}
	p := c.PersistentFlags()
	p.StringVar(&f.certDir, "cert-dir", config.DefaultCertificatesDir, "`directory` of the certificates")
	p.StringVar(&f.kubeconfigDir, "kubeconfig-dir", phases.DefaultDirs().Kubernetes, "`directory` of the kubeconfigs")
	for _, dir := range []string{"cert-dir", "kubeconfig-dir"} {
		_ = c.MarkPersistentFlagDirname(dir)
	}
	c.AddCommand(newCertsCheck(ui, &f), newCertsRenew(ui, &f), newCertsRotate(ui, &f), newCertsRequest(ui, &f))
	return c
}

func (f certsFlags) places() certs.Places {
	return certs.Places{PKI: f.certDir, Kubernetes: f.kubeconfigDir, Kubelet: filepath.Join(phases.DefaultDirs().Kubelet, "pki")}
}

// nodeOf returns the name of the node whose certificates these are; that of the
// host if they do not tell.
func nodeOf(held []certs.Held) (string, error) {
	for _, h := range held {
		if h.Name == "kubelet.conf" && h.Certificate != nil {
			if node, ok := strings.CutPrefix(h.Certificate.Subject.CommonName, "system:node:"); ok {
				return node, nil
			}
		}
	}
	host, err := config.ReadHost()
	return strings.ToLower(host.Name), err
}
