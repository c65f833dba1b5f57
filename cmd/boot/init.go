package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/phases"
)

// initFlags are the flags of "boot init", named as kubeadm's.
type initFlags struct {
	config.InitFlags
	path       string
	token      string
	tokenTTL   time.Duration
	foreground bool
}

func newInit(ui *ui) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Make this host the first control plane of a cluster",
		Long: `Make this host the first control plane of a cluster: check the host, start the
node agent, write certificates, kubeconfigs and static-pod manifests, wait until
the control plane is up, and store the configuration in the cluster.

Killed at any moment, the same command run again finishes the job.`,
		Example: `  # A cluster on this host
  boot init

  # What would be done
  boot init --dry-run

  # From a kubeadm configuration file
  boot init --config kubeadm.yaml

  # Reachable under a name and by another address
  boot init --control-plane-endpoint api.example.org --apiserver-cert-extra-sans 203.0.113.7`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runInit(c.Context(), ui, f.read(c)) },
	}
	f.register(c)
	ui.eventsFlag(c.Flags())
	c.AddCommand(newInitPhase(ui, &f))
	return c
}

// register declares the flags. They are persistent, so that single phases take
// the same ones.
func (f *initFlags) register(c *cobra.Command) {
	p := c.PersistentFlags()
	p.StringVar(&f.path, "config", "", "configuration `file`: kubeadm.k8s.io/v1beta4 documents, and those of kubelet, kube-proxy and boot")
	p.StringVar(&f.AdvertiseAddress, "apiserver-advertise-address", "", "`IP` the API server says it listens on; the one of the default route if not set")
	p.Int32Var(&f.BindPort, "apiserver-bind-port", 0, "`port` the API server listens on (default 6443)")
	p.StringSliceVar(&f.CertSANs, "apiserver-cert-extra-sans", nil, "further `names` and IPs for the API server's certificate")
	p.StringVar(&f.ControlPlaneEndpoint, "control-plane-endpoint", "", "stable `address` of the control plane, host or host:port")
	p.StringVar(&f.CertDir, "cert-dir", "", "`directory` of the certificates (default \"/etc/kubernetes/pki\")")
	p.StringVar(&f.CRISocket, "cri-socket", "", "`path` of the container engine's socket; found, or boot's own, if not set")
	p.StringVar(&f.KubernetesVersion, "kubernetes-version", "", fmt.Sprintf("`version` of the control plane (default %q)", config.DefaultKubernetesVersion))
	p.StringVar(&f.ImageRepository, "image-repository", "", "`registry` of the control-plane images (default \"registry.k8s.io\")")
	p.StringVar(&f.NodeName, "node-name", "", "`name` of the node; the hostname if not set")
	p.StringVar(&f.PodNetworkCIDR, "pod-network-cidr", "", "`range` of pod IPs (default \"10.244.0.0/16\")")
	p.StringVar(&f.ServiceCIDR, "service-cidr", "", "`range` of Service IPs (default \"10.96.0.0/12\")")
	p.StringVar(&f.ServiceDNSDomain, "service-dns-domain", "", "DNS `domain` of Services (default \"cluster.local\")")
	p.StringVar(&f.PatchesDir, "patches", "", "`directory` of files \"target[suffix][+patchtype].extension\" that patch the manifests")
	p.StringSliceVar(&f.SkipPhases, "skip-phases", nil, "`phases` not to run")
	p.BoolVar(&f.DryRun, "dry-run", false, "print what would be done and change nothing")
	p.StringSliceVar(&f.IgnorePreflightErrors, "ignore-preflight-errors", nil, "`checks` whose errors are only warned of; 'all' ignores all")
	p.StringVar(&f.token, "token", "", "bootstrap `token` for nodes that join, [a-z0-9]{6}.[a-z0-9]{16}; made if not set")
	p.DurationVar(&f.tokenTTL, "token-ttl", 24*time.Hour, "`duration` after which the token ends; 0 for never")
	p.BoolVar(&f.UploadCerts, "upload-certs", false, "store the control plane's certificates, encrypted, in the cluster for further control planes")
	p.BoolVar(&f.foreground, "foreground", false, "stay, and run the node agent in the foreground")
	_ = c.MarkPersistentFlagFilename("config", "yaml", "yml", "json")
	for _, dir := range []string{"cert-dir", "patches"} {
		_ = c.MarkPersistentFlagDirname(dir)
	}
	completePhases(c, phases.InitPhases)
}

// read returns the flags in the form that config takes.
func (f *initFlags) read(c *cobra.Command) initFlags {
	got := *f
	got.Token = config.Secret(f.token)
	if c.Flags().Changed("token-ttl") {
		got.TokenTTL = &f.tokenTTL
	}
	return got
}

// load makes the configuration from file, flags and host.
func (f initFlags) load(ui *ui) (*config.Init, error) {
	host, err := config.ReadHost()
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadInit(config.InitOptions{Path: f.path, Flags: f.InitFlags, Host: host})
	if err != nil {
		return nil, withCode(exitValidation, err)
	}
	for _, w := range cfg.Warnings {
		ui.warn(w)
	}
	return cfg, nil
}

func newInitPhase(ui *ui, f *initFlags) *cobra.Command {
	return newPhase(ui, phased{
		name: "init",
		example: `  boot init phase list
  boot init phase certs
  boot init phase control-plane/apiserver --dry-run`,
		entries: phases.InitPhases,
		run: func(c *cobra.Command, phase string, _ []string) error {
			return runInitPhase(c.Context(), ui, f.read(c), phase)
		},
	})
}
