package config

import "slices"

// JoinFlags are the flags of "boot join" that have a say in the configuration,
// and its one argument. The zero value of a field means that it was not given.
type JoinFlags struct {
	Endpoint              string   // the argument: an API server as "host:port"
	Token                 Secret   // --token: for discovery and for the node's certificate
	DiscoveryToken        Secret   // --discovery-token
	TLSBootstrapToken     Secret   // --tls-bootstrap-token
	CACertHashes          []string // --discovery-token-ca-cert-hash
	SkipCAVerification    bool     // --discovery-token-unsafe-skip-ca-verification
	DiscoveryFile         string   // --discovery-file
	ControlPlane          bool     // --control-plane
	CertificateKey        Secret   // --certificate-key
	AdvertiseAddress      string   // --apiserver-advertise-address
	BindPort              int32    // --apiserver-bind-port
	CRISocket             string   // --cri-socket
	DryRun                bool     // --dry-run
	IgnorePreflightErrors []string // --ignore-preflight-errors
	NodeName              string   // --node-name
	PatchesDir            string   // --patches
	SkipPhases            []string // --skip-phases
}

// settings lists the flags of f as they apply to j.
func (f JoinFlags) settings(j *JoinConfiguration) []flagSetting {
	all := slices.Concat(f.discoverySettings(j), f.controlPlaneSettings(j), f.nodeSettings(j))
	for i := range all {
		all[i].kind = kindJoin
	}
	return all
}

func (f JoinFlags) discoverySettings(j *JoinConfiguration) []flagSetting {
	byToken := func() *BootstrapTokenDiscovery {
		if j.Discovery.BootstrapToken == nil {
			j.Discovery.BootstrapToken = &BootstrapTokenDiscovery{}
		}
		return j.Discovery.BootstrapToken
	}
	const at = "discovery.bootstrapToken."
	return []flagSetting{
		// A token that does for both stands behind those for one of them, and
		// finds the cluster unless a file does.
		{name: "--token", given: f.Token != "", path: "discovery.tlsBootstrapToken", apply: func() {
			j.Discovery.TLSBootstrapToken = f.Token
			if f.DiscoveryFile == "" {
				byToken().Token = f.Token
			}
		}},
		{name: "--tls-bootstrap-token", given: f.TLSBootstrapToken != "", path: "discovery.tlsBootstrapToken", apply: func() {
			j.Discovery.TLSBootstrapToken = f.TLSBootstrapToken
		}},
		{name: "--discovery-token", given: f.DiscoveryToken != "", path: at + "token", apply: func() { byToken().Token = f.DiscoveryToken }},
		{name: "the address of an API server", given: f.Endpoint != "", path: at + "apiServerEndpoint", apply: func() {
			byToken().APIServerEndpoint = f.Endpoint
		}},
		{name: "--discovery-token-ca-cert-hash", given: len(f.CACertHashes) > 0, path: at + "caCertHashes", apply: func() {
			byToken().CACertHashes = slices.Clone(f.CACertHashes)
		}},
		{name: "--discovery-token-unsafe-skip-ca-verification", given: f.SkipCAVerification, path: at + "unsafeSkipCAVerification", apply: func() {
			byToken().UnsafeSkipCAVerification = true
		}},
		{name: "--discovery-file", given: f.DiscoveryFile != "", path: "discovery.file.kubeConfigPath", apply: func() {
			j.Discovery.File = &FileDiscovery{KubeConfigPath: f.DiscoveryFile}
		}},
	}
}

func (f JoinFlags) controlPlaneSettings(j *JoinConfiguration) []flagSetting {
	member := func() *JoinControlPlane {
		if j.ControlPlane == nil {
			j.ControlPlane = &JoinControlPlane{}
		}
		return j.ControlPlane
	}
	// What is only for control planes does not make the node one: it may stand in
	// a script that joins all nodes alike.
	forMember := func(given bool) bool { return given && (f.ControlPlane || j.ControlPlane != nil) }
	return []flagSetting{
		{name: "--control-plane", given: f.ControlPlane, path: "controlPlane", apply: func() { member() }},
		{name: "--certificate-key", given: forMember(f.CertificateKey != ""), path: "controlPlane.certificateKey", apply: func() {
			member().CertificateKey = f.CertificateKey
		}},
		{name: "--apiserver-advertise-address", given: forMember(f.AdvertiseAddress != ""), path: "controlPlane.localAPIEndpoint.advertiseAddress", apply: func() {
			member().LocalAPIEndpoint.AdvertiseAddress = f.AdvertiseAddress
		}},
		{name: "--apiserver-bind-port", given: forMember(f.BindPort != 0), path: "controlPlane.localAPIEndpoint.bindPort", apply: func() {
			member().LocalAPIEndpoint.BindPort = f.BindPort
		}},
	}
}

// nodeSettings are about this node and this run.
func (f JoinFlags) nodeSettings(j *JoinConfiguration) []flagSetting {
	node := &j.NodeRegistration
	return []flagSetting{
		{name: "--node-name", given: f.NodeName != "", path: "nodeRegistration.name", withFile: true, apply: func() { node.Name = f.NodeName }},
		{name: "--cri-socket", given: f.CRISocket != "", path: "nodeRegistration.criSocket", apply: func() { node.CRISocket = f.CRISocket }},
		{name: "--dry-run", given: f.DryRun, path: "dryRun", withFile: true, apply: func() { j.DryRun = true }},
		{
			name: "--ignore-preflight-errors", given: len(f.IgnorePreflightErrors) > 0, withFile: true, path: "nodeRegistration.ignorePreflightErrors",
			apply: func() { node.IgnorePreflightErrors = append(node.IgnorePreflightErrors, f.IgnorePreflightErrors...) },
		},
		{name: "--skip-phases", given: len(f.SkipPhases) > 0, path: "skipPhases", withFile: true, apply: func() { j.SkipPhases = slices.Clone(f.SkipPhases) }},
		{name: "--patches", given: f.PatchesDir != "", path: "patches.directory", apply: func() { j.Patches = &Patches{Directory: absolute(f.PatchesDir)} }},
	}
}
