package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/phases"
)

func newKubeconfig(ui *ui) *cobra.Command {
	c := &cobra.Command{
		Use:     "kubeconfig",
		Short:   "Make kubeconfigs for users of the cluster",
		Example: "  boot kubeconfig user --client-name jane --org developers > jane.conf",
		Args:    noArgs,
	}
	c.AddCommand(newKubeconfigUser(ui))
	return c
}

// userFlags are the flags of "boot kubeconfig user", named as kubeadm's.
type userFlags struct {
	path, admin, certDir string
	name, token          string
	groups               []string
	period               time.Duration
}

func newKubeconfigUser(ui *ui) *cobra.Command {
	var f userFlags
	c := &cobra.Command{
		Use:   "user",
		Short: "Print a kubeconfig for one more user",
		Long: `Print a kubeconfig for one more user, with a certificate that the cluster's CA signs,
or with a token. Run it on a control plane. What it prints holds a key: keep it from
others. A certificate cannot be taken back; give it no longer a life than it needs.

The user has no rights before somebody gives them to the name or one of the groups.`,
		Example: `  # For a developer, for a month
  boot kubeconfig user --client-name jane --org developers --validity-period 720h > jane.conf
  kubectl create clusterrolebinding developers --clusterrole view --group developers

  # For a service account's token
  boot kubeconfig user --client-name ci --token "$(kubectl create token ci)" > ci.conf`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return printUser(ui, f) },
	}
	p := c.Flags()
	p.StringVar(&f.name, "client-name", "", "`name` of the user: the certificate's CN")
	p.StringSliceVar(&f.groups, "org", nil, "`groups` of the user: the certificate's O")
	p.StringVar(&f.token, "token", "", "`token` to identify with, in place of a certificate")
	p.DurationVar(&f.period, "validity-period", 365*24*time.Hour, "`duration` the certificate lives, at most as long as the CA")
	p.StringVar(&f.path, "config", "", "configuration `file` that names the cluster and its address; those of --kubeconfig if not set")
	p.StringVar(&f.admin, "kubeconfig", filepath.Join(phases.DefaultDirs().Kubernetes, "admin.conf"), "kubeconfig `file` to take the cluster and its address from")
	p.StringVar(&f.certDir, "cert-dir", "", "`directory` of the CA (default \""+config.DefaultCertificatesDir+"\")")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
	_ = c.MarkFlagDirname("cert-dir")
	return c
}

func printUser(ui *ui, f userFlags) error {
	switch {
	case f.name == "":
		return withCode(exitValidation, hint.With(errors.New("whose kubeconfig?"), "name the user with --client-name"))
	case f.token != "" && len(f.groups) > 0:
		return withCode(exitValidation, hint.With(errors.New("--org is part of a certificate and --token is in place of one"), "leave one of them out"))
	case f.period <= 0:
		return withCode(exitValidation, fmt.Errorf("a certificate cannot live %s", f.period))
	}
	if slices.Contains(f.groups, "system:masters") {
		ui.warn("no rule of the cluster can take anything from a member of system:masters, for as long as the certificate lives")
	}
	o, err := f.cluster(ui)
	if err != nil {
		return err
	}
	if f.certDir != "" {
		o.Dir = f.certDir
	}
	o.Name, o.Groups, o.Token, o.Period = f.name, f.groups, f.token, f.period
	text, err := certs.UserKubeconfig(o)
	if err != nil {
		return err
	}
	ui.printf("%s", text)
	return nil
}

// cluster finds out for which cluster the kubeconfig is.
func (f userFlags) cluster(ui *ui) (certs.UserOptions, error) {
	if f.path != "" {
		cfg, err := initFlags{path: f.path}.load(ui)
		if err != nil {
			return certs.UserOptions{}, err
		}
		return certs.UserOptions{
			Dir: cfg.Cluster.CertificatesDir, ClusterName: cfg.Cluster.ClusterName, Server: phases.SharedURL(cfg),
			Algorithm: certs.Algorithm(cfg.Cluster.EncryptionAlgorithm),
		}, nil
	}
	conf, err := clientcmd.LoadFromFile(f.admin)
	if err != nil {
		return certs.UserOptions{}, hint.With(fmt.Errorf("read kubeconfig %s: %w", f.admin, err), "run it on a control plane, or name a file with --kubeconfig or --config")
	}
	at := conf.Contexts[conf.CurrentContext]
	if at == nil || conf.Clusters[at.Cluster] == nil {
		return certs.UserOptions{}, fmt.Errorf("read kubeconfig %s: it names no cluster", f.admin)
	}
	to := conf.Clusters[at.Cluster]
	return certs.UserOptions{
		Dir: config.DefaultCertificatesDir, ClusterName: at.Cluster, Server: to.Server, ServerName: to.TLSServerName,
		Algorithm: certs.Algorithm(config.DefaultEncryptionAlgorithm),
	}, nil
}
