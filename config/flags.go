package config

import (
	"path/filepath"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A flagSetting ties one flag to the setting it stands for.
type flagSetting struct {
	name  string
	given bool
	// kind and path are where the setting is in a configuration file.
	kind, path string
	// withFile allows the flag beside --config. Like kubeadm, boot takes what
	// describes the cluster either from flags or from the file: a mixture is
	// never what the next reader of the file expects.
	withFile bool
	apply    func()
}

// settings lists the flags of f as they apply to i.
func (f InitFlags) settings(i *Init) []flagSetting {
	return slices.Concat(f.nodeSettings(i), f.clusterSettings(i), f.runSettings(i), f.tokenSettings(i))
}

func (f InitFlags) nodeSettings(i *Init) []flagSetting {
	node, endpoint := &i.Init.NodeRegistration, &i.Init.LocalAPIEndpoint
	own := func(flag string, value string, path string, to *string) flagSetting {
		return flagSetting{
			name: flag, given: value != "", kind: kindInit, path: path,
			apply: func() { *to = value },
		}
	}
	name := own("--node-name", f.NodeName, "nodeRegistration.name", &node.Name)
	name.withFile = true
	return []flagSetting{
		name,
		own("--cri-socket", f.CRISocket, "nodeRegistration.criSocket", &node.CRISocket),
		own("--apiserver-advertise-address", f.AdvertiseAddress, "localAPIEndpoint.advertiseAddress", &endpoint.AdvertiseAddress),
		{
			name: "--apiserver-bind-port", given: f.BindPort != 0, kind: kindInit, path: "localAPIEndpoint.bindPort",
			apply: func() { endpoint.BindPort = f.BindPort },
		},
	}
}

func (f InitFlags) clusterSettings(i *Init) []flagSetting {
	c := &i.Cluster
	own := func(flag string, value string, path string, to *string) flagSetting {
		return flagSetting{
			name: flag, given: value != "", kind: kindCluster, path: path,
			apply: func() { *to = value },
		}
	}
	return []flagSetting{
		own("--cert-dir", f.CertDir, "certificatesDir", &c.CertificatesDir),
		own("--control-plane-endpoint", f.ControlPlaneEndpoint, "controlPlaneEndpoint", &c.ControlPlaneEndpoint),
		own("--image-repository", f.ImageRepository, "imageRepository", &c.ImageRepository),
		own("--kubernetes-version", f.KubernetesVersion, "kubernetesVersion", &c.KubernetesVersion),
		own("--pod-network-cidr", f.PodNetworkCIDR, "networking.podSubnet", &c.Networking.PodSubnet),
		own("--service-cidr", f.ServiceCIDR, "networking.serviceSubnet", &c.Networking.ServiceSubnet),
		own("--service-dns-domain", f.ServiceDNSDomain, "networking.dnsDomain", &c.Networking.DNSDomain),
		{
			name: "--apiserver-cert-extra-sans", given: len(f.CertSANs) > 0, kind: kindCluster, path: "apiServer.certSANs",
			apply: func() { c.APIServer.CertSANs = slices.Clone(f.CertSANs) },
		},
	}
}

// runSettings are about this one run; all but the patches go beside a file.
func (f InitFlags) runSettings(i *Init) []flagSetting {
	return []flagSetting{
		{
			name: "--dry-run", given: f.DryRun, kind: kindInit, path: "dryRun", withFile: true,
			apply: func() { i.Init.DryRun = true },
		},
		{
			name: "--ignore-preflight-errors", given: len(f.IgnorePreflightErrors) > 0, withFile: true,
			kind: kindInit, path: "nodeRegistration.ignorePreflightErrors",
			apply: func() {
				n := &i.Init.NodeRegistration
				n.IgnorePreflightErrors = append(n.IgnorePreflightErrors, f.IgnorePreflightErrors...)
			},
		},
		{
			name: "--skip-phases", given: len(f.SkipPhases) > 0, kind: kindInit, path: "skipPhases", withFile: true,
			apply: func() { i.Init.SkipPhases = slices.Clone(f.SkipPhases) },
		},
		{
			name: "--upload-certs", given: f.UploadCerts, withFile: true,
			apply: func() { i.UploadCerts = true },
		},
		{
			name: "--patches", given: f.PatchesDir != "", kind: kindInit, path: "patches.directory",
			apply: func() { i.Init.Patches = &Patches{Directory: absolute(f.PatchesDir)} },
		},
	}
}

func (f InitFlags) tokenSettings(i *Init) []flagSetting {
	first := func() *BootstrapToken {
		if len(i.Init.BootstrapTokens) == 0 {
			i.Init.BootstrapTokens = []BootstrapToken{{Description: tokenDescription}}
		}
		return &i.Init.BootstrapTokens[0]
	}
	return []flagSetting{
		{
			name: "--token", given: f.Token != "", kind: kindInit, path: "bootstrapTokens[0].token",
			apply: func() { first().Token = f.Token },
		},
		{
			name: "--token-ttl", given: f.TokenTTL != nil, kind: kindInit, path: "bootstrapTokens[0].ttl",
			apply: func() { first().TTL = &metav1.Duration{Duration: *f.TokenTTL} },
		},
	}
}

// absolute makes a path of the command line independent of the directory the
// command was run in, as far as that is known.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
