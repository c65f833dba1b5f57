package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// controlPlaneLabel is also the key of the taint that keeps other pods away.
const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

const unixScheme = "unix://"

// setDefaults fills in what the user left out. The order matters: some defaults
// follow from others.
func (i *Init) setDefaults(h Host) error {
	i.setTypes()
	i.Boot.setDefaults()
	i.Init.LocalAPIEndpoint.setDefaults(h)
	i.warn(i.Init.NodeRegistration.setDefaults(h.Name))
	if i.Init.NodeRegistration.Taints == nil {
		i.Init.NodeRegistration.Taints = []corev1.Taint{{Key: controlPlaneLabel, Effect: corev1.TaintEffectNoSchedule}}
	}
	setTimeouts(&i.Init.Timeouts)
	i.Cluster.setDefaults()
	i.defaultNetworking()
	i.defaultEndpoint()
	i.defaultKubelet()
	i.defaultKubeProxy()
	return i.defaultTokens()
}

// setTypes names the documents, also those the user did not write.
func (i *Init) setTypes() {
	i.Init.TypeMeta = metav1.TypeMeta{APIVersion: KubeadmAPIVersion, Kind: kindInit}
	i.Cluster.TypeMeta = metav1.TypeMeta{APIVersion: KubeadmAPIVersion, Kind: kindCluster}
	i.Boot.TypeMeta = metav1.TypeMeta{APIVersion: BootAPIVersion, Kind: kindBoot}
	i.Kubelet.TypeMeta = metav1.TypeMeta{APIVersion: KubeletAPIVersion, Kind: kindKubelet}
	i.KubeProxy.TypeMeta = metav1.TypeMeta{APIVersion: KubeProxyAPIVersion, Kind: kindKubeProxy}
}

func (i *Init) warn(warnings ...string) {
	for _, w := range warnings {
		if w != "" {
			i.Warnings = append(i.Warnings, w)
		}
	}
}

func (b *BootConfiguration) setDefaults() {
	setDefault(&b.Engine, EngineAuto)
	setDefault(&b.ImagesDir, DefaultImagesDir)
	setDefault(&b.Network, NetworkFlannel)
	setDefault(&b.Flannel.Backend, FlannelVXLAN)
	setDefault(&b.Log.MaxSizeMB, 10)
	setDefault(&b.Log.MaxFiles, 5)
	if b.Snapshots.Every == nil {
		b.Snapshots.Every = &metav1.Duration{Duration: 12 * time.Hour}
	}
	setDefault(&b.Snapshots.Keep, 5)
}

func (e *APIEndpoint) setDefaults(h Host) {
	setDefault(&e.BindPort, DefaultBindPort)
	if e.AdvertiseAddress == "" && len(h.Default) > 0 {
		e.AdvertiseAddress = h.Default[0].String()
	}
}

func (n *NodeRegistrationOptions) setDefaults(hostname string) (warning string) {
	setDefault(&n.Name, hostname)
	n.Name = strings.ToLower(strings.TrimSpace(n.Name))
	setDefault(&n.ImagePullPolicy, corev1.PullIfNotPresent)
	if n.ImagePullSerial == nil {
		n.ImagePullSerial = new(true)
	}
	if strings.HasPrefix(n.CRISocket, "/") {
		warning = "nodeRegistration.criSocket is a path; a URL is meant: " + unixScheme + n.CRISocket
		n.CRISocket = unixScheme + n.CRISocket
	}
	return warning
}

func setTimeouts(t **Timeouts) {
	if *t == nil {
		*t = &Timeouts{}
	}
	for field, d := range map[**metav1.Duration]time.Duration{
		&(*t).ControlPlaneComponentHealthCheck: 4 * time.Minute,
		&(*t).KubeletHealthCheck:               4 * time.Minute,
		&(*t).KubernetesAPICall:                time.Minute,
		&(*t).EtcdAPICall:                      2 * time.Minute,
		&(*t).TLSBootstrap:                     5 * time.Minute,
		&(*t).Discovery:                        5 * time.Minute,
		&(*t).UpgradeManifests:                 5 * time.Minute,
	} {
		if *field == nil {
			*field = &metav1.Duration{Duration: d}
		}
	}
}

func (c *ClusterConfiguration) setDefaults() {
	setDefault(&c.KubernetesVersion, DefaultKubernetesVersion)
	if c.KubernetesVersion[0] >= '0' && c.KubernetesVersion[0] <= '9' {
		c.KubernetesVersion = "v" + c.KubernetesVersion
	}
	setDefault(&c.CertificatesDir, DefaultCertificatesDir)
	setDefault(&c.ImageRepository, DefaultImageRepository)
	setDefault(&c.ClusterName, DefaultClusterName)
	setDefault(&c.EncryptionAlgorithm, DefaultEncryptionAlgorithm)
	if c.CertificateValidityPeriod == nil {
		c.CertificateValidityPeriod = &metav1.Duration{Duration: 365 * 24 * time.Hour}
	}
	if c.CACertificateValidityPeriod == nil {
		c.CACertificateValidityPeriod = &metav1.Duration{Duration: 10 * 365 * 24 * time.Hour}
	}
	for n, san := range c.APIServer.CertSANs {
		c.APIServer.CertSANs[n] = strings.ToLower(san) // load balancers come with capitals
	}
	c.Etcd.setDefaults()
	setFieldVersions(c.APIServer.ExtraEnvs, c.ControllerManager.ExtraEnvs, c.Scheduler.ExtraEnvs)
}

// setFieldVersions says of which version the fields are that variables refer
// to, as the API server would.
func setFieldVersions(lists ...[]corev1.EnvVar) {
	for _, e := range slices.Concat(lists...) {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			setDefault(&e.ValueFrom.FieldRef.APIVersion, "v1")
		}
	}
}

func (e *Etcd) setDefaults() {
	if e.Local == nil && e.External == nil {
		e.Local = &LocalEtcd{}
	}
	if e.Local != nil {
		setDefault(&e.Local.DataDir, DefaultEtcdDataDir)
		setFieldVersions(e.Local.ExtraEnvs)
	}
	if e.External != nil && len(e.External.HTTPEndpoints) == 0 {
		e.External.HTTPEndpoints = slices.Clone(e.External.Endpoints)
	}
}

// defaultNetworking picks subnets of the family of the advertise address. With
// a pod network of the user's own there may be no pod subnet at all.
func (i *Init) defaultNetworking() {
	n := &i.Cluster.Networking
	services, pods := DefaultServiceSubnet, DefaultPodSubnet
	if a, err := netip.ParseAddr(i.Init.LocalAPIEndpoint.AdvertiseAddress); err == nil && a.Is6() {
		services, pods = DefaultServiceSubnetIPv6, DefaultPodSubnetIPv6
	}
	setDefault(&n.ServiceSubnet, services)
	setDefault(&n.DNSDomain, DefaultDNSDomain)
	if i.Boot.Network != NetworkNone {
		setDefault(&n.PodSubnet, pods)
	}
}

// defaultEndpoint adds the port to a control-plane endpoint without one.
func (i *Init) defaultEndpoint() {
	endpoint := i.Cluster.ControlPlaneEndpoint
	if endpoint == "" {
		return
	}
	if host, port, ok := splitEndpoint(endpoint); ok && port == "" {
		i.Cluster.ControlPlaneEndpoint = net.JoinHostPort(host, strconv.Itoa(int(i.Init.LocalAPIEndpoint.BindPort)))
	}
}

// defaultTokens completes the bootstrap tokens and makes one up if there is
// none.
func (i *Init) defaultTokens() error {
	if len(i.Init.BootstrapTokens) == 0 {
		i.Init.BootstrapTokens = []BootstrapToken{{Description: tokenDescription}}
	}
	i.TokenGenerated = len(i.Init.BootstrapTokens) == 1 && i.Init.BootstrapTokens[0].Token == ""
	for n := range i.Init.BootstrapTokens {
		if err := i.Init.BootstrapTokens[n].setDefaults(); err != nil {
			return err
		}
	}
	return nil
}

// setDefaults makes the token one that nodes can join with.
func (t *BootstrapToken) setDefaults() error {
	if t.Token == "" {
		made, err := bootstraputil.GenerateBootstrapToken()
		if err != nil {
			return err
		}
		t.Token = Secret(made)
	}
	if t.TTL == nil && t.Expires == nil {
		t.TTL = &metav1.Duration{Duration: 24 * time.Hour}
	}
	if len(t.Usages) == 0 {
		t.Usages = slices.Clone(bootstrapapi.KnownTokenUsages)
	}
	if len(t.Groups) == 0 {
		t.Groups = []string{"system:bootstrappers:kubeadm:default-node-token"}
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
