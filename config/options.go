package config

import (
	"net/netip"
	"time"
)

// InitOptions is all that [LoadInit] looks at.
type InitOptions struct {
	// Path is the configuration file (--config); empty for none.
	Path string
	// Data, when not nil, is read instead of the file; Path then only names it
	// in errors.
	Data []byte
	// Flags are what was given on the command line.
	Flags InitFlags
	// Host is what is known about this host, see [ReadHost].
	Host Host
}

// InitFlags are the flags of "boot init" that have a say in the configuration.
// The zero value of a field means that the flag was not given.
type InitFlags struct {
	AdvertiseAddress      string         // --apiserver-advertise-address
	BindPort              int32          // --apiserver-bind-port
	CertSANs              []string       // --apiserver-cert-extra-sans
	CertDir               string         // --cert-dir
	ControlPlaneEndpoint  string         // --control-plane-endpoint
	CRISocket             string         // --cri-socket
	DryRun                bool           // --dry-run
	IgnorePreflightErrors []string       // --ignore-preflight-errors
	ImageRepository       string         // --image-repository
	KubernetesVersion     string         // --kubernetes-version
	NodeName              string         // --node-name
	PatchesDir            string         // --patches
	PodNetworkCIDR        string         // --pod-network-cidr
	ServiceCIDR           string         // --service-cidr
	ServiceDNSDomain      string         // --service-dns-domain
	SkipPhases            []string       // --skip-phases
	Token                 Secret         // --token
	TokenTTL              *time.Duration // --token-ttl
	UploadCerts           bool           // --upload-certs
}

// A Host is what the configuration must know about the host it is for.
type Host struct {
	// Name is the host's name as the kernel tells it.
	Name string
	// Default are the addresses that the default routes leave from, the
	// preferred family first. Empty where there is no default route.
	Default []netip.Addr
	// Prefixes are all addresses of the host's interfaces, each with the size
	// of its network, loopback included.
	Prefixes []netip.Prefix
	// Elsewhere says that the configuration is for another host, see [AnyHost]:
	// it may have any address.
	Elsewhere bool
}
