package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeRegistrationOptions is about a node's object in the cluster and about
// its kubelet.
type NodeRegistrationOptions struct {
	// Name is that of the Node object, by default the host's in lower case.
	Name string `json:"name,omitempty"`
	// CRISocket is where the container engine listens, as "unix://" URL. Empty
	// means that boot looks for one and else runs its own.
	CRISocket string `json:"criSocket,omitempty"`
	// Taints the node is registered with. Nil stands for the default, an empty
	// list for none.
	Taints []corev1.Taint `json:"taints"`
	// KubeletExtraArgs are flags of the kubelet, without dashes.
	KubeletExtraArgs []Arg `json:"kubeletExtraArgs,omitempty"`
	// IgnorePreflightErrors names checks that may find what they want.
	IgnorePreflightErrors []string `json:"ignorePreflightErrors,omitempty"`
	// ImagePullPolicy is for the images pulled before the start.
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// ImagePullSerial pulls one image after the other.
	ImagePullSerial *bool `json:"imagePullSerial,omitempty"`
}

// APIEndpoint is where one API server is reached.
type APIEndpoint struct {
	// AdvertiseAddress is an address of this host.
	AdvertiseAddress string `json:"advertiseAddress,omitempty"`
	// BindPort is the port the API server listens on.
	BindPort int32 `json:"bindPort,omitempty"`
}

// Patches says where to find patches for manifests.
type Patches struct {
	// Directory holds files named "target[suffix][+patchtype].extension".
	Directory string `json:"directory,omitempty"`
}

// Timeouts bound how long kubeadm's waits may take.
type Timeouts struct {
	// ControlPlaneComponentHealthCheck is for a component to become healthy.
	ControlPlaneComponentHealthCheck *metav1.Duration `json:"controlPlaneComponentHealthCheck,omitempty"`
	// KubeletHealthCheck is for the kubelet to become healthy.
	KubeletHealthCheck *metav1.Duration `json:"kubeletHealthCheck,omitempty"`
	// KubernetesAPICall is for one call to the API server, retries included.
	KubernetesAPICall *metav1.Duration `json:"kubernetesAPICall,omitempty"`
	// EtcdAPICall is for one call to etcd, retries included.
	EtcdAPICall *metav1.Duration `json:"etcdAPICall,omitempty"`
	// TLSBootstrap is for a joining kubelet to get its certificate.
	TLSBootstrap *metav1.Duration `json:"tlsBootstrap,omitempty"`
	// Discovery is for a joining node to find and trust the cluster.
	Discovery *metav1.Duration `json:"discovery,omitempty"`
	// UpgradeManifests is for a static pod to run its new manifest.
	UpgradeManifests *metav1.Duration `json:"upgradeManifests,omitempty"`
}
