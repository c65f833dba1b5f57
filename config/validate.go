package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// init checks a defaulted configuration as a whole.
func (v *validator) init(i *Init, h Host) {
	v.endpoint(kindInit, "localAPIEndpoint", i.Init.LocalAPIEndpoint, h)
	v.node(kindInit, &i.Init.NodeRegistration)
	v.tokens(i.Init.BootstrapTokens)
	v.certificateKey(kindInit, "certificateKey", i.Init.CertificateKey)
	v.timeouts(kindInit, i.Init.Timeouts)
	if i.Init.Patches != nil {
		v.absolute(kindInit, "patches.directory", i.Init.Patches.Directory)
	}
	v.cluster(&i.Cluster)
	i.warn(v.gates(i.Cluster.FeatureGates)...)
	i.warn(v.validity(&i.Cluster)...)
	v.networking(i, h)
	v.boot(&i.Boot)
	v.kubelet(&i.Kubelet)
	v.kubeProxy(i)
	i.warn(kubeletArgWarnings(i.Init.NodeRegistration.KubeletExtraArgs)...)
}

func (v *validator) node(kind string, n *NodeRegistrationOptions) {
	const at = "nodeRegistration."
	v.dnsName(kind, at+"name", n.Name)
	v.socket(kind, at+"criSocket", n.CRISocket)
	v.args(kind, at+"kubeletExtraArgs", n.KubeletExtraArgs)
	v.oneOf(kind, at+"imagePullPolicy", string(n.ImagePullPolicy),
		string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever))
	for k, t := range n.Taints {
		v.taint(kind, at+"taints["+strconv.Itoa(k)+"]", t)
	}
}

func (v *validator) taint(kind, path string, t corev1.Taint) {
	v.check(len(validation.IsQualifiedName(t.Key)) == 0, kind, path+".key", strconv.Quote(t.Key)+" is not the key of a taint",
		`write it as "example.org/name"`)
	v.check(len(validation.IsValidLabelValue(t.Value)) == 0, kind, path+".value", strconv.Quote(t.Value)+" is not the value of a taint",
		"use letters, digits, dashes, dots and underscores, 63 at most")
	v.oneOf(kind, path+".effect", string(t.Effect), string(corev1.TaintEffectNoSchedule),
		string(corev1.TaintEffectPreferNoSchedule), string(corev1.TaintEffectNoExecute))
}

// cluster checks all of a ClusterConfiguration but its networking.
func (v *validator) cluster(c *ClusterConfiguration) {
	v.version(c.KubernetesVersion)
	v.absolute(kindCluster, "certificatesDir", c.CertificatesDir)
	v.repository("imageRepository", c.ImageRepository)
	v.oneOf(kindCluster, "encryptionAlgorithm", string(c.EncryptionAlgorithm),
		string(ECDSAP256), string(ECDSAP384), string(RSA2048), string(RSA3072), string(RSA4096))
	if c.ControlPlaneEndpoint != "" {
		_, _, ok := splitEndpoint(c.ControlPlaneEndpoint)
		v.check(ok, kindCluster, "controlPlaneEndpoint", strconv.Quote(c.ControlPlaneEndpoint)+" is not a host with an optional port",
			`write a DNS name or an address, as in "cluster.example.org:6443"`)
	}
	v.check(c.ClusterName != "" && !strings.ContainsAny(c.ClusterName, " \t\r\n"), kindCluster, "clusterName", "must not hold blanks")
	v.repository("dns.imageRepository", c.DNS.ImageRepository)
	v.sans("apiServer.certSANs", c.APIServer.CertSANs)
	v.component("apiServer", c.APIServer.ControlPlaneComponent)
	v.component("controllerManager", c.ControllerManager)
	v.component("scheduler", c.Scheduler)
	v.etcd(c.Etcd)
}

func (v *validator) component(path string, c ControlPlaneComponent) {
	v.args(kindCluster, path+".extraArgs", c.ExtraArgs)
	v.envs(path+".extraEnvs", c.ExtraEnvs)
	names := map[string]bool{}
	for k, m := range c.ExtraVolumes {
		at := path + ".extraVolumes[" + strconv.Itoa(k) + "]"
		v.dnsLabel(at+".name", m.Name)
		v.check(!names[m.Name], kindCluster, at+".name", "two volumes have the name "+strconv.Quote(m.Name))
		names[m.Name] = true
		v.absolute(kindCluster, at+".hostPath", m.HostPath)
		v.absolute(kindCluster, at+".mountPath", m.MountPath)
		v.oneOf(kindCluster, at+".pathType", string(m.PathType), "", string(corev1.HostPathDirectoryOrCreate),
			string(corev1.HostPathDirectory), string(corev1.HostPathFileOrCreate), string(corev1.HostPathFile),
			string(corev1.HostPathSocket), string(corev1.HostPathCharDev), string(corev1.HostPathBlockDev))
	}
}

func (v *validator) envs(path string, envs []corev1.EnvVar) {
	for k, e := range envs {
		at := path + "[" + strconv.Itoa(k) + "]"
		v.check(len(validation.IsEnvVarName(e.Name)) == 0, kindCluster, at+".name", strconv.Quote(e.Name)+" is not the name of a variable",
			"use letters, digits, dashes, dots and underscores")
		if from := e.ValueFrom; from != nil {
			v.check(from.ConfigMapKeyRef == nil && from.SecretKeyRef == nil, kindCluster, at+".valueFrom",
				"static pods can not refer to objects of the API", "write the value itself")
		}
	}
}

func (v *validator) etcd(e Etcd) {
	if e.Local != nil && e.External != nil {
		v.add(kindCluster, "etcd", "local and external exclude each other", "keep one of them")
		return
	}
	if l := e.Local; l != nil {
		v.absolute(kindCluster, "etcd.local.dataDir", l.DataDir)
		v.repository("etcd.local.imageRepository", l.ImageRepository)
		v.args(kindCluster, "etcd.local.extraArgs", l.ExtraArgs)
		v.envs("etcd.local.extraEnvs", l.ExtraEnvs)
		v.sans("etcd.local.serverCertSANs", l.ServerCertSANs)
		v.sans("etcd.local.peerCertSANs", l.PeerCertSANs)
	}
	if e.External != nil {
		v.externalEtcd(e.External)
	}
}

func (v *validator) externalEtcd(e *ExternalEtcd) {
	const at = "etcd.external"
	secure := e.CAFile+e.CertFile+e.KeyFile != ""
	v.check(len(e.Endpoints) > 0, kindCluster, at+".endpoints", "at least one endpoint is needed")
	v.urls(at+".endpoints", e.Endpoints, secure)
	v.urls(at+".httpEndpoints", e.HTTPEndpoints, false)
	v.check((e.CertFile == "") == (e.KeyFile == ""), kindCluster, at, "certFile and keyFile go together")
	v.check(e.CertFile == "" || e.CAFile != "", kindCluster, at, "certFile and keyFile need caFile")
	for name, path := range map[string]string{".caFile": e.CAFile, ".certFile": e.CertFile, ".keyFile": e.KeyFile} {
		if path != "" {
			v.absolute(kindCluster, at+name, path)
		}
	}
}

func (v *validator) urls(path string, urls []string, secure bool) {
	for k, s := range urls {
		u, err := url.Parse(s)
		ok := err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && !secure)
		message := strconv.Quote(s) + " is not a URL of an etcd member"
		if secure {
			message += " reached over TLS"
		}
		v.check(ok, kindCluster, path+"["+strconv.Itoa(k)+"]", message, `write it as "https://10.0.0.1:2379"`)
	}
}

// args checks names of flags; values are up to the component.
func (v *validator) args(kind, path string, args []Arg) {
	for k, a := range args {
		at := path + "[" + strconv.Itoa(k) + "].name"
		switch {
		case a.Name == "":
			v.add(kind, at, "the argument has no name", "")
		case strings.HasPrefix(a.Name, "-"):
			v.add(kind, at, strconv.Quote(a.Name)+" starts with a dash", "write "+strconv.Quote(strings.TrimLeft(a.Name, "-")))
		case strings.ContainsAny(a.Name, "= \t\r\n"):
			v.add(kind, at, strconv.Quote(a.Name)+" is not the name of a flag", "put what follows the name into value")
		}
	}
}

func (v *validator) boot(b *BootConfiguration) {
	v.oneOf(kindBoot, "engine", string(b.Engine), string(EngineAuto), string(EngineBundled), string(EngineSocket))
	v.oneOf(kindBoot, "network", string(b.Network), string(NetworkFlannel), string(NetworkBridge), string(NetworkNone))
	v.oneOf(kindBoot, "flannel.backend", string(b.Flannel.Backend), string(FlannelVXLAN), string(FlannelHostGW))
	if b.CertificateRenewal != "" {
		v.oneOf(kindBoot, "certificateRenewal", string(b.CertificateRenewal), string(RenewalAuto), string(RenewalOff))
	}
	v.absolute(kindBoot, "imagesDir", b.ImagesDir)
	for i, server := range b.APIServers {
		host, port, err := net.SplitHostPort(server)
		number, noNumber := strconv.ParseUint(port, 10, 16)
		v.check(err == nil && noNumber == nil && host != "" && number > 0, kindBoot, fmt.Sprintf("apiServers[%d]", i),
			strconv.Quote(server)+" is not an address with a port", "such as 192.0.2.10:6443")
	}
	v.check(b.Log.MaxSizeMB > 0, kindBoot, "log.maxSizeMB", "must be positive")
	v.check(b.Log.MaxFiles > 0, kindBoot, "log.maxFiles", "must be positive")
	every := b.Snapshots.Every.Duration
	v.check(every == 0 || every >= minSnapshotsApart, kindBoot, "snapshots.every", "must be "+minSnapshotsApart.String()+" or more, or 0 for none")
	v.check(b.Snapshots.Keep > 0, kindBoot, "snapshots.keep", "must be positive")
}

// minSnapshotsApart is as often as anybody may want the whole database read.
const minSnapshotsApart = 10 * time.Second

func (v *validator) absolute(kind, path, value string) {
	v.check(filepath.IsAbs(value), kind, path, strconv.Quote(value)+" is not an absolute path")
}

func (v *validator) oneOf(kind, path, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	named := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
	v.add(kind, path, strconv.Quote(value)+" is not known", "use one of "+strings.Join(named, ", "))
}
