package config

// The versions of the documents boot reads.
const (
	KubeadmAPIVersion   = "kubeadm.k8s.io/v1beta4"
	BootAPIVersion      = "boot.internal/v1"
	KubeletAPIVersion   = "kubelet.config.k8s.io/v1beta1"
	KubeProxyAPIVersion = "kubeproxy.config.k8s.io/v1alpha1"
)

// What is used where the user does not say otherwise; all but the pod subnets
// and the encryption algorithm are kubeadm's.
const (
	DefaultKubernetesVersion   = "v1.37.2"
	DefaultClusterName         = "kubernetes"
	DefaultServiceSubnet       = "10.96.0.0/12"
	DefaultServiceSubnetIPv6   = "fd00:10:96::/112"
	DefaultPodSubnet           = "10.244.0.0/16"
	DefaultPodSubnetIPv6       = "fd00:10:244::/56"
	DefaultDNSDomain           = "cluster.local"
	DefaultCertificatesDir     = "/etc/kubernetes/pki"
	DefaultManifestsDir        = "/etc/kubernetes/manifests"
	DefaultEtcdDataDir         = "/var/lib/etcd"
	DefaultImageRepository     = "registry.k8s.io"
	DefaultImagesDir           = "/var/lib/boot/images"
	DefaultEncryptionAlgorithm = ECDSAP256
	DefaultBindPort            = 6443
)

// The components boot runs, by the names of their images and pods.
const (
	ComponentEtcd              = "etcd"
	ComponentAPIServer         = "kube-apiserver"
	ComponentControllerManager = "kube-controller-manager"
	ComponentScheduler         = "kube-scheduler"
	ComponentProxy             = "kube-proxy"
	ComponentCoreDNS           = "coredns"
	ComponentPause             = "pause"
)

// The kinds of documents that findings speak of.
const (
	kindInit      = "InitConfiguration"
	kindCluster   = "ClusterConfiguration"
	kindJoin      = "JoinConfiguration"
	kindReset     = "ResetConfiguration"
	kindUpgrade   = "UpgradeConfiguration"
	kindBoot      = "BootConfiguration"
	kindKubelet   = "KubeletConfiguration"
	kindKubeProxy = "KubeProxyConfiguration"
)

// Where a cluster that boot made keeps, in kube-system, what kubeadm has no place
// for and joining nodes need.
const (
	BootConfigMap      = "boot-config"
	BootConfigMapBoot  = "BootConfiguration"
	BootConfigMapProxy = "KubeProxyConfiguration"
)
