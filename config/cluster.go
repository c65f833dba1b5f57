package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterConfiguration is kubeadm's document about what all control-plane
// nodes share. It is stored in the cluster as the ConfigMap kubeadm-config.
type ClusterConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// Etcd is either run by boot on each control-plane node or brought along.
	Etcd Etcd `json:"etcd"`
	// Networking holds the address ranges and the DNS domain.
	Networking Networking `json:"networking"`
	// KubernetesVersion is the version of the control plane: "v1.37.2".
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// ControlPlaneEndpoint is the address, with port, that stands for all API
	// servers; empty when there is only one.
	ControlPlaneEndpoint string `json:"controlPlaneEndpoint,omitempty"`
	// APIServer adds to kube-apiserver's manifest and certificate.
	APIServer APIServer `json:"apiServer"`
	// ControllerManager adds to kube-controller-manager's manifest.
	ControllerManager ControlPlaneComponent `json:"controllerManager"`
	// Scheduler adds to kube-scheduler's manifest.
	Scheduler ControlPlaneComponent `json:"scheduler"`
	// DNS is about the CoreDNS add-on.
	DNS DNS `json:"dns"`
	// Proxy is about kube-proxy.
	Proxy Proxy `json:"proxy"`
	// CertificatesDir is where the PKI is kept.
	CertificatesDir string `json:"certificatesDir,omitempty"`
	// ImageRepository is where images come from.
	ImageRepository string `json:"imageRepository,omitempty"`
	// FeatureGates are kubeadm's own, not those of Kubernetes.
	FeatureGates map[string]bool `json:"featureGates,omitempty"`
	// ClusterName is used in kubeconfigs and by the controller manager.
	ClusterName string `json:"clusterName,omitempty"`
	// EncryptionAlgorithm is that of all keys made for the PKI.
	EncryptionAlgorithm EncryptionAlgorithm `json:"encryptionAlgorithm,omitempty"`
	// CertificateValidityPeriod is how long leaf certificates live.
	CertificateValidityPeriod *metav1.Duration `json:"certificateValidityPeriod,omitempty"`
	// CACertificateValidityPeriod is how long certificate authorities live.
	CACertificateValidityPeriod *metav1.Duration `json:"caCertificateValidityPeriod,omitempty"`
}

// Etcd holds exactly one of its fields once it is defaulted.
type Etcd struct {
	// Local is an etcd that runs as a static pod on this node.
	Local *LocalEtcd `json:"local,omitempty"`
	// External is an etcd that someone else runs.
	External *ExternalEtcd `json:"external,omitempty"`
}

// LocalEtcd is an etcd member that runs as a static pod.
type LocalEtcd struct {
	ImageMeta `json:",inline"`

	// DataDir is where etcd keeps its data.
	DataDir string `json:"dataDir"`
	// ExtraArgs are flags of etcd, without dashes; they win over boot's.
	ExtraArgs []Arg `json:"extraArgs,omitempty"`
	// ExtraEnvs are environment variables of the container.
	ExtraEnvs []corev1.EnvVar `json:"extraEnvs,omitempty"`
	// ServerCertSANs are added to the certificate that clients see.
	ServerCertSANs []string `json:"serverCertSANs,omitempty"`
	// PeerCertSANs are added to the certificate that other members see.
	PeerCertSANs []string `json:"peerCertSANs,omitempty"`
}

// ExternalEtcd is how to reach an etcd that boot does not run.
type ExternalEtcd struct {
	// Endpoints are URLs of members.
	Endpoints []string `json:"endpoints"`
	// HTTPEndpoints are URLs for metrics and health, by default Endpoints.
	HTTPEndpoints []string `json:"httpEndpoints,omitempty"`
	// CAFile is the authority of the members' certificates.
	CAFile string `json:"caFile"`
	// CertFile is the client's certificate.
	CertFile string `json:"certFile"`
	// KeyFile is the key of CertFile.
	KeyFile string `json:"keyFile"`
}

// Networking holds what all nodes must agree on; each subnet is one CIDR, or
// two of different families separated by a comma.
type Networking struct {
	// ServiceSubnet is where Services get their addresses.
	ServiceSubnet string `json:"serviceSubnet,omitempty"`
	// PodSubnet is where nodes get the ranges for their pods.
	PodSubnet string `json:"podSubnet,omitempty"`
	// DNSDomain is the domain of Services.
	DNSDomain string `json:"dnsDomain,omitempty"`
}

// ControlPlaneComponent adds to the static pod of one component.
type ControlPlaneComponent struct {
	// ExtraArgs are flags, without dashes; they win over boot's.
	ExtraArgs []Arg `json:"extraArgs,omitempty"`
	// ExtraVolumes are host paths mounted into the container.
	ExtraVolumes []HostPathMount `json:"extraVolumes,omitempty"`
	// ExtraEnvs are environment variables of the container.
	ExtraEnvs []corev1.EnvVar `json:"extraEnvs,omitempty"`
}

// APIServer adds to kube-apiserver.
type APIServer struct {
	ControlPlaneComponent `json:",inline"`

	// CertSANs are names and addresses added to the serving certificate.
	CertSANs []string `json:"certSANs,omitempty"`
}

// DNS is about the CoreDNS add-on.
type DNS struct {
	ImageMeta `json:",inline"`

	// Disabled leaves the add-on out.
	Disabled bool `json:"disabled,omitempty"`
}

// Proxy is about kube-proxy.
type Proxy struct {
	// Disabled leaves kube-proxy out.
	Disabled bool `json:"disabled,omitempty"`
}

// ImageMeta overrides where the image of a component comes from.
type ImageMeta struct {
	// ImageRepository replaces the cluster's repository.
	ImageRepository string `json:"imageRepository,omitempty"`
	// ImageTag replaces the tag that goes with the Kubernetes version.
	ImageTag string `json:"imageTag,omitempty"`
}

// An Arg is one flag of a component. The same name may come several times.
type Arg struct {
	// Name is the flag without leading dashes.
	Name string `json:"name"`
	// Value is its value, which may be empty.
	Value string `json:"value"`
}

// A HostPathMount mounts a path of the host into a container.
type HostPathMount struct {
	// Name is that of the volume.
	Name string `json:"name"`
	// HostPath is the path on the host.
	HostPath string `json:"hostPath"`
	// MountPath is the path in the container.
	MountPath string `json:"mountPath"`
	// ReadOnly keeps the container from writing.
	ReadOnly bool `json:"readOnly,omitempty"`
	// PathType says what must be at HostPath.
	PathType corev1.HostPathType `json:"pathType,omitempty"`
}

// An EncryptionAlgorithm is the kind and size of a key.
type EncryptionAlgorithm string

// The algorithms that kubeadm knows.
const (
	ECDSAP256 EncryptionAlgorithm = "ECDSA-P256"
	ECDSAP384 EncryptionAlgorithm = "ECDSA-P384"
	RSA2048   EncryptionAlgorithm = "RSA-2048"
	RSA3072   EncryptionAlgorithm = "RSA-3072"
	RSA4096   EncryptionAlgorithm = "RSA-4096"
)
