package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/google/nftables"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"

	"boot.internal/config"
	"boot.internal/templates"
)

// hostInputs finds out what of this host the static pods depend on.
func hostInputs(ui *ui, cfg *config.Init) (templates.Inputs, error) {
	dir := ""
	if cfg.Init.Patches != nil {
		dir = cfg.Init.Patches.Directory
	}
	patches, err := templates.ReadPatches(dir)
	if err != nil {
		return templates.Inputs{}, withCode(exitValidation, err)
	}
	for _, name := range patches.Ignored {
		ui.warn("patch " + name + " is for nothing that boot writes")
	}
	return templates.Inputs{
		CACertDirs: templates.CACertDirs(isDir), ProxyEnv: templates.ProxyEnv(os.Environ()), Patches: patches,
		ProxyMode: proxyMode(), NestedNetwork: nestedNetwork(),
	}, nil
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// proxyMode returns how kube-proxy is to program the kernel: nftables, where it
// has that. kube-proxy brings the programs along.
func proxyMode() kubeproxyv1alpha1.ProxyMode {
	c, err := nftables.New()
	if err == nil {
		_, err = c.ListTables()
	}
	if err != nil {
		return "iptables"
	}
	return "nftables"
}

// nestedNetwork reports whether this is not the host's own network namespace:
// there the kernel lets nobody size the connection tracking table.
func nestedNetwork() bool {
	fi, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	return err == nil && fi.Mode().Perm()&0o222 == 0
}

// makeCertificateKey makes the key that encrypts uploaded certificates, unless
// the user brought one.
func makeCertificateKey(cfg *config.Init) error {
	if !cfg.UploadCerts || cfg.Init.CertificateKey != "" {
		return nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make certificate key: %w", err)
	}
	cfg.Init.CertificateKey = config.Secret(hex.EncodeToString(key))
	return nil
}
