package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// kubeletFlags are the flags of "boot kubelet", named as the kubelet's.
type kubeletFlags struct {
	config     string
	dropIns    string
	kubeconfig string
	nodeName   string
	nodeIP     string
	nodeLabels map[string]string
	nodeTaints []string
	register   bool
	cloud      string
	rootDir    string
	socket     string
	podPath    string
	supervise  bool
	all        map[string]string // as they were given or else default, for those who ask the node

	bootstrap, certDir              string
	credentialConfig, credentialDir string // of credential providers
}

func newKubelet(ui *ui) *cobra.Command {
	var f kubeletFlags
	c := &cobra.Command{
		Use:   "kubelet",
		Short: "Run the node agent: pods from manifests, with or without a cluster",
		Long: `Run the node agent in the foreground: it runs the pods of the manifest directory
on the container engine, bringing its own engine where there is none, and keeps
them running. With a kubeconfig it registers the node and the mirror pods.

"boot init" runs it as a service. On its own, with a folder of manifests, it
needs neither a cluster nor an API server.

Each file of --config-dir whose name ends in .conf is a KubeletConfiguration of which
only what it names counts. They are merged over --config in the order of their paths,
subdirectories included: maps are merged, lists are replaced, and null brings the
default back. They are read when the agent starts.`,
		Example: `  # A folder of manifests, no cluster
  boot kubelet --pod-manifest-path /etc/manifests

  # With a KubeletConfiguration
  boot kubelet --config kubelet.yaml

  # With files beside it that change some of its settings
  boot kubelet --config kubelet.yaml --config-dir /etc/kubernetes/kubelet.conf.d

  # A node of a cluster
  boot kubelet --config /var/lib/kubelet/config.yaml --kubeconfig /etc/kubernetes/kubelet.conf`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.all = shown(c.Flags())
			forgetOthers(c)
			return runKubelet(c.Context(), ui, f)
		},
	}
	p := c.Flags()
	p.StringVar(&f.config, "config", "", "`file` with a KubeletConfiguration, and a BootConfiguration if need be")
	p.StringVar(&f.dropIns, "config-dir", "", "`directory` of files *.conf, each a KubeletConfiguration, that are merged over --config in lexical order")
	p.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` that leads to the API server; it may come into being later. Without it there is no API server")
	p.StringVar(&f.bootstrap, "bootstrap-kubeconfig", "", "kubeconfig `file` with which a certificate is asked for if the kubeconfig has no valid one")
	p.StringVar(&f.certDir, "cert-dir", "", "`directory` of the node's certificates (default pki in the root directory)")
	p.StringVar(&f.nodeName, "hostname-override", "", "`name` of the node; the hostname if not set")
	p.StringVar(&f.nodeIP, "node-ip", "", "`IP` of the node, or two of them, one for each family; those of the default routes if not set. 0.0.0.0 and :: are that of the default route of their family")
	p.StringToStringVar(&f.nodeLabels, "node-labels", nil, "`labels` to register the node with, key=value")
	p.StringSliceVar(&f.nodeTaints, "register-with-taints", nil, "`taints` to register the node with, key=value:effect")
	p.BoolVar(&f.register, "register-node", true, "register the node with the API server")
	p.StringVar(&f.cloud, "cloud-provider", "", "\"external\" if a cloud controller manager completes the node")
	p.StringVar(&f.rootDir, "root-dir", "/var/lib/kubelet", "`directory` for pods and certificates")
	p.StringVar(&f.socket, "container-runtime-endpoint", "", "`socket` of the container engine; found, or boot's own, if not set")
	p.StringVar(&f.podPath, "pod-manifest-path", "", "manifest `directory` or file; overrides staticPodPath")
	p.StringVar(&f.credentialConfig, "image-credential-provider-config", "", "`file` or directory with a CredentialProviderConfig")
	p.StringVar(&f.credentialDir, "image-credential-provider-bin-dir", "", "`directory` of the credential providers' programs")
	p.BoolVar(&f.supervise, "supervise", false, "run the agent as a child and restart it when it dies")
	_ = p.MarkHidden("supervise")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
	_ = c.MarkFlagFilename("kubeconfig")
	for _, dir := range []string{"config-dir", "root-dir", "pod-manifest-path"} {
		_ = c.MarkFlagDirname(dir)
	}
	return c
}

// shown returns flags for people to read. None of them holds a secret: what is
// secret is in the files they name.
func shown(flags *pflag.FlagSet) map[string]string {
	all := map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) { all[f.Name] = f.Value.String() })
	return all
}
