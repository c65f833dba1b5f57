package main

import (
	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/phases"
)

// joinFlags are the flags of "boot join", named as kubeadm's.
type joinFlags struct {
	config.JoinFlags
	path       string
	secrets    joinSecrets
	foreground bool
}

// joinSecrets are flags as they are given, before they hide themselves.
type joinSecrets struct{ token, discoveryToken, tlsToken, certificateKey string }

func newJoin(ui *ui) *cobra.Command {
	var f joinFlags
	c := &cobra.Command{
		Use:   "join [ADDR:PORT]",
		Short: "Make this host a node of an existing cluster",
		Long: `Make this host a node of an existing cluster: check the host, find the cluster
and make sure that it is the right one, start the node agent, get a certificate
for the node, and with --control-plane make it one more control plane.

The cluster is found by a token and the hash of its authority, as 'boot init'
prints them, or by a kubeconfig. It may have been made by boot or by kubeadm.

Killed at any moment, the same command run again finishes the job.`,
		Example: `  # A worker
  boot join 192.0.2.10:6443 --token abcdef.0123456789abcdef \
      --discovery-token-ca-cert-hash sha256:1234…

  # One more control plane
  boot join 192.0.2.10:6443 --token abcdef.0123456789abcdef \
      --discovery-token-ca-cert-hash sha256:1234… \
      --control-plane --certificate-key 0123…

  # By a kubeconfig, and a token for the certificate
  boot join --discovery-file cluster.conf --tls-bootstrap-token abcdef.0123456789abcdef

  # From a kubeadm configuration file, without doing it
  boot join --config join.yaml --dry-run`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error { return runJoin(c.Context(), ui, f.read(args)) },
	}
	f.register(c)
	ui.eventsFlag(c.Flags())
	c.AddCommand(newJoinPhase(ui, &f))
	return c
}

// register declares the flags. They are persistent, so that single phases take
// the same ones.
func (f *joinFlags) register(c *cobra.Command) {
	p := c.PersistentFlags()
	p.StringVar(&f.path, "config", "", "configuration `file`: a kubeadm.k8s.io/v1beta4 JoinConfiguration, and a BootConfiguration if need be")
	p.StringVar(&f.secrets.token, "token", "", "`token` for both, finding the cluster and getting the node's certificate")
	p.StringVar(&f.secrets.discoveryToken, "discovery-token", "", "`token` for finding the cluster alone")
	p.StringVar(&f.secrets.tlsToken, "tls-bootstrap-token", "", "`token` for getting the node's certificate alone")
	p.StringSliceVar(&f.CACertHashes, "discovery-token-ca-cert-hash", nil, "`hash` of the authority the cluster must have, sha256:<hex>")
	p.BoolVar(&f.SkipCAVerification, "discovery-token-unsafe-skip-ca-verification", false, "trust whoever knows the token to be the cluster")
	p.StringVar(&f.DiscoveryFile, "discovery-file", "", "kubeconfig `file` or https URL of one, which says where the cluster is and whom to trust")
	p.BoolVar(&f.ControlPlane, "control-plane", false, "make the node one more control plane")
	p.StringVar(&f.secrets.certificateKey, "certificate-key", "", "`key` of the certificates that 'boot init --upload-certs' has stored in the cluster")
	p.StringVar(&f.AdvertiseAddress, "apiserver-advertise-address", "", "`IP` the API server of a control plane says it listens on; the one of the default route if not set")
	p.Int32Var(&f.BindPort, "apiserver-bind-port", 0, "`port` the API server of a control plane listens on (default 6443)")
	p.StringVar(&f.NodeName, "node-name", "", "`name` of the node; the hostname if not set")
	p.StringVar(&f.CRISocket, "cri-socket", "", "`path` of the container engine's socket; found, or boot's own, if not set")
	p.StringVar(&f.PatchesDir, "patches", "", "`directory` of files \"target[suffix][+patchtype].extension\" that patch the manifests")
	p.StringSliceVar(&f.SkipPhases, "skip-phases", nil, "`phases` not to run")
	p.BoolVar(&f.DryRun, "dry-run", false, "print what would be done and change nothing")
	p.StringSliceVar(&f.IgnorePreflightErrors, "ignore-preflight-errors", nil, "`checks` whose errors are only warned of; 'all' ignores all")
	p.BoolVar(&f.foreground, "foreground", false, "stay, and run the node agent in the foreground")
	for _, name := range []string{"config", "discovery-file"} {
		_ = c.MarkPersistentFlagFilename(name, "yaml", "yml", "json", "conf")
	}
	_ = c.MarkPersistentFlagDirname("patches")
	completePhases(c, phases.JoinPhases)
}

// read returns flags and arguments in the form that config takes.
func (f *joinFlags) read(args []string) joinFlags {
	got := *f
	got.Token, got.DiscoveryToken = config.Secret(f.secrets.token), config.Secret(f.secrets.discoveryToken)
	got.TLSBootstrapToken, got.CertificateKey = config.Secret(f.secrets.tlsToken), config.Secret(f.secrets.certificateKey)
	if len(args) > 0 {
		got.Endpoint = args[0]
	}
	return got
}

// load makes the configuration from file, flags and host.
func (f joinFlags) load(ui *ui) (*config.Join, error) {
	host, err := config.ReadHost()
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadJoin(config.JoinOptions{Path: f.path, Flags: f.JoinFlags, Host: host})
	if err != nil {
		return nil, withCode(exitValidation, err)
	}
	for _, w := range cfg.Warnings {
		ui.warn(w)
	}
	return cfg, nil
}

func newJoinPhase(ui *ui, f *joinFlags) *cobra.Command {
	return newPhase(ui, phased{
		name: "join", argument: "[ADDR:PORT]",
		example: `  boot join phase list
  boot join phase preflight --config join.yaml
  boot join phase kubelet-start --config join.yaml --dry-run`,
		entries: phases.JoinPhases,
		run: func(c *cobra.Command, phase string, args []string) error {
			return runJoinPhase(c.Context(), ui, f.read(args), phase)
		},
	})
}
