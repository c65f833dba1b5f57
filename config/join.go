package config

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// JoinConfiguration is kubeadm's document about a node that joins a cluster.
type JoinConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// DryRun asks for the changes to be shown and not made.
	DryRun bool `json:"dryRun,omitempty"`
	// NodeRegistration is about the Node object and the kubelet.
	NodeRegistration NodeRegistrationOptions `json:"nodeRegistration"`
	// CACertPath is where the cluster's authority is stored on this node.
	CACertPath string `json:"caCertPath,omitempty"`
	// Discovery is how the cluster is found and trusted.
	Discovery Discovery `json:"discovery"`
	// ControlPlane makes the node a member of the control plane.
	ControlPlane *JoinControlPlane `json:"controlPlane,omitempty"`
	// SkipPhases names the phases not to run.
	SkipPhases []string `json:"skipPhases,omitempty"`
	// Patches is where patches for manifests are found.
	Patches *Patches `json:"patches,omitempty"`
	// Timeouts bound the waits of this run.
	Timeouts *Timeouts `json:"timeouts,omitempty"`
}

// JoinControlPlane is about a joining control-plane node.
type JoinControlPlane struct {
	// LocalAPIEndpoint is where the API server of this node is reached.
	LocalAPIEndpoint APIEndpoint `json:"localAPIEndpoint"`
	// CertificateKey decrypts the certificates stored in the cluster.
	CertificateKey Secret `json:"certificateKey,omitempty"`
}

// Discovery holds exactly one of BootstrapToken and File.
type Discovery struct {
	// BootstrapToken finds the cluster by a token.
	BootstrapToken *BootstrapTokenDiscovery `json:"bootstrapToken,omitempty"`
	// File finds the cluster by a kubeconfig.
	File *FileDiscovery `json:"file,omitempty"`
	// TLSBootstrapToken gets the kubelet its certificate, by default the token
	// of BootstrapToken.
	TLSBootstrapToken Secret `json:"tlsBootstrapToken,omitempty"`
}

// BootstrapTokenDiscovery finds a cluster by a token.
type BootstrapTokenDiscovery struct {
	// Token is "id.secret".
	Token Secret `json:"token"`
	// APIServerEndpoint is an API server as "host:port".
	APIServerEndpoint string `json:"apiServerEndpoint,omitempty"`
	// CACertHashes pin the cluster's authority: "sha256:<hex>".
	CACertHashes []string `json:"caCertHashes,omitempty"`
	// UnsafeSkipCAVerification trusts whoever knows the token.
	UnsafeSkipCAVerification bool `json:"unsafeSkipCAVerification,omitempty"`
}

// FileDiscovery finds a cluster by a kubeconfig.
type FileDiscovery struct {
	// KubeConfigPath is a file or an https URL.
	KubeConfigPath string `json:"kubeConfigPath"`
}
