package config

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// An Init is everything "boot init" was asked to do: every field is defaulted
// and validated, and nothing in it changes after [LoadInit] returned it.
type Init struct {
	// Init is what concerns this node and this run.
	Init InitConfiguration
	// Cluster is what all nodes of the cluster share.
	Cluster ClusterConfiguration
	// Kubelet is what all kubelets of the cluster share: what the user wrote
	// and what follows from Cluster. The kubelet's own defaults are left out,
	// so that one node's version does not freeze them for all; see
	// [DefaultKubelet].
	Kubelet kubeletv1beta1.KubeletConfiguration
	// KubeProxy is the configuration of every kube-proxy, on the same terms
	// as Kubelet.
	KubeProxy kubeproxyv1alpha1.KubeProxyConfiguration
	// Boot is what kubeadm has no word for.
	Boot BootConfiguration
	// UploadCerts asks for the control-plane certificates to be stored in the
	// cluster, encrypted, for joining control-plane nodes.
	UploadCerts bool
	// TokenGenerated says that the one bootstrap token was made up by LoadInit:
	// where the cluster already holds a usable one, that serves as well.
	TokenGenerated bool
	// Warnings are for the user: settings that were accepted but probably do
	// not do what was meant.
	Warnings []string
}

// InitConfiguration is kubeadm's document about the node that is initialised
// and about this one run.
type InitConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// BootstrapTokens are created in the cluster for nodes to join with.
	BootstrapTokens []BootstrapToken `json:"bootstrapTokens,omitempty"`
	// DryRun asks for the changes to be shown and not made.
	DryRun bool `json:"dryRun,omitempty"`
	// NodeRegistration is about the Node object and the kubelet.
	NodeRegistration NodeRegistrationOptions `json:"nodeRegistration"`
	// LocalAPIEndpoint is where the API server of this node is reached.
	LocalAPIEndpoint APIEndpoint `json:"localAPIEndpoint"`
	// CertificateKey encrypts the certificates that are stored in the cluster:
	// an AES key of 32 bytes in hexadecimal.
	CertificateKey Secret `json:"certificateKey,omitempty"`
	// SkipPhases names the phases not to run.
	SkipPhases []string `json:"skipPhases,omitempty"`
	// Patches is where patches for manifests are found.
	Patches *Patches `json:"patches,omitempty"`
	// Timeouts bound the waits of this run.
	Timeouts *Timeouts `json:"timeouts,omitempty"`
}

// A BootstrapToken lets new nodes find, trust and join the cluster.
type BootstrapToken struct {
	// Token is "id.secret".
	Token Secret `json:"token"`
	// Description is for people.
	Description string `json:"description,omitempty"`
	// TTL is how long the token is valid from its creation; zero is for ever.
	// It excludes Expires.
	TTL *metav1.Duration `json:"ttl,omitempty"`
	// Expires is when the token ends.
	Expires *metav1.Time `json:"expires,omitempty"`
	// Usages are "signing" and "authentication".
	Usages []string `json:"usages,omitempty"`
	// Groups are what the bearer is a member of.
	Groups []string `json:"groups,omitempty"`
}
