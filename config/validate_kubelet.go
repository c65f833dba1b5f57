package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cliflag "k8s.io/component-base/cli/flag"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// kubelet checks what the embedded kubelet acts upon. A field that is empty
// has a default that is filled in later.
func (v *validator) kubelet(k *kubeletv1beta1.KubeletConfiguration) {
	v.kubeletPaths(k)
	v.kubeletServing(k)
	v.kubeletClocks(k)
	v.kubeletPods(k)
	v.kubeletPressure(k)
	v.kubeletCPUs(k)
	v.kubeletTopology(k)
	v.kubeletMemory(k)
	v.kubeletTracing(k)
	v.kubeletProcess(k)
	v.kubeletLogsDir(k)
	v.quantities("systemReserved", k.SystemReserved)
	v.quantities("kubeReserved", k.KubeReserved)
	v.oneOf(kindKubelet, "cgroupDriver", k.CgroupDriver, "", "cgroupfs", "systemd")
	v.check(k.FailCgroupV1 == nil || !*k.FailCgroupV1, kindKubelet, "failCgroupV1", "boot does not refuse cgroup v1", "leave it out")
	v.socket(kindKubelet, "containerRuntimeEndpoint", k.ContainerRuntimeEndpoint)
	v.socket(kindKubelet, "imageServiceEndpoint", k.ImageServiceEndpoint)
}

func (v *validator) kubeletPaths(k *kubeletv1beta1.KubeletConfiguration) {
	for path, value := range map[string]string{
		"staticPodPath":                    k.StaticPodPath,
		"tlsCertFile":                      k.TLSCertFile,
		"tlsPrivateKeyFile":                k.TLSPrivateKeyFile,
		"authentication.x509.clientCAFile": k.Authentication.X509.ClientCAFile,
	} {
		v.check(value == "" || filepath.IsAbs(value), kindKubelet, path, strconv.Quote(value)+" is not an absolute path")
	}
	v.check((k.TLSCertFile == "") == (k.TLSPrivateKeyFile == ""), kindKubelet, "tlsCertFile", "tlsCertFile and tlsPrivateKeyFile go together")
	if k.ResolverConfig != nil && *k.ResolverConfig != "" {
		v.absolute(kindKubelet, "resolvConf", *k.ResolverConfig)
	}
}

func (v *validator) kubeletServing(k *kubeletv1beta1.KubeletConfiguration) {
	for path, port := range map[string]int32{"port": k.Port, "healthzPort": value(k.HealthzPort)} {
		if port != 0 {
			v.port(kindKubelet, path, port)
		}
	}
	v.check(k.ReadOnlyPort == 0, kindKubelet, "readOnlyPort", "there is no port without authentication", "leave it out or set it to 0")
	for path, address := range map[string]string{"address": k.Address, "healthzBindAddress": k.HealthzBindAddress} {
		_, err := netip.ParseAddr(address)
		v.check(address == "" || err == nil, kindKubelet, path, strconv.Quote(address)+" is not an address")
	}
	_, err := cliflag.TLSVersion(k.TLSMinVersion)
	v.check(err == nil, kindKubelet, "tlsMinVersion", strconv.Quote(k.TLSMinVersion)+" is not known", "write it as VersionTLS12")
	if _, err = cliflag.TLSCipherSuites(k.TLSCipherSuites); err != nil {
		v.add(kindKubelet, "tlsCipherSuites", err.Error(), "")
	}
	v.oneOf(kindKubelet, "authorization.mode", string(k.Authorization.Mode), "",
		string(kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow), string(kubeletv1beta1.KubeletAuthorizationModeWebhook))
}

func (v *validator) kubeletClocks(k *kubeletv1beta1.KubeletConfiguration) {
	for path, d := range map[string]metav1.Duration{
		"fileCheckFrequency":                         k.FileCheckFrequency,
		"httpCheckFrequency":                         k.HTTPCheckFrequency,
		"nodeStatusUpdateFrequency":                  k.NodeStatusUpdateFrequency,
		"nodeStatusReportFrequency":                  k.NodeStatusReportFrequency,
		"authentication.webhook.cacheTTL":            k.Authentication.Webhook.CacheTTL,
		"authorization.webhook.cacheAuthorizedTTL":   k.Authorization.Webhook.CacheAuthorizedTTL,
		"authorization.webhook.cacheUnauthorizedTTL": k.Authorization.Webhook.CacheUnauthorizedTTL,
		"crashLoopBackOff.maxContainerRestartPeriod": value(k.CrashLoopBackOff.MaxContainerRestartPeriod),
	} {
		v.check(d.Duration >= 0, kindKubelet, path, "must not be negative")
	}
	v.check(k.NodeLeaseDurationSeconds >= 0, kindKubelet, "nodeLeaseDurationSeconds", "must be positive")
}

func (v *validator) kubeletPods(k *kubeletv1beta1.KubeletConfiguration) {
	for path, n := range map[string]int32{
		"maxPods": k.MaxPods, "podsPerCore": k.PodsPerCore, "kubeAPIBurst": k.KubeAPIBurst, "kubeAPIQPS": value(k.KubeAPIQPS),
	} {
		v.check(n >= 0, kindKubelet, path, "must not be negative")
	}
	for n, dns := range k.ClusterDNS {
		_, err := netip.ParseAddr(dns)
		v.check(err == nil, kindKubelet, "clusterDNS["+strconv.Itoa(n)+"]", strconv.Quote(dns)+" is not an address")
	}
	if k.ClusterDomain != "" {
		v.dnsName(kindKubelet, "clusterDomain", k.ClusterDomain)
	}
	if k.PodCIDR != "" {
		_, err := ParseSubnets(k.PodCIDR)
		v.check(err == nil, kindKubelet, "podCIDR", strconv.Quote(k.PodCIDR)+" is not a CIDR")
	}
	v.kubeletLogs(k)
	v.check(k.MaxParallelImagePulls == nil || *k.MaxParallelImagePulls > 0, kindKubelet, "maxParallelImagePulls", "must be positive")
	v.check(k.SerializeImagePulls == nil || !*k.SerializeImagePulls || value(k.MaxParallelImagePulls) < 2, kindKubelet,
		"maxParallelImagePulls", "several pulls at once exclude serializeImagePulls")
	for n, t := range k.RegisterWithTaints {
		v.taint(kindKubelet, "registerWithTaints["+strconv.Itoa(n)+"]", t)
	}
}

// kubeletLogs checks what becomes of the logs of containers.
func (v *validator) kubeletLogs(k *kubeletv1beta1.KubeletConfiguration) {
	v.check(k.ContainerLogMaxFiles == nil || *k.ContainerLogMaxFiles > 1, kindKubelet, "containerLogMaxFiles", "must be more than 1")
	v.check(k.ContainerLogMaxWorkers == nil || *k.ContainerLogMaxWorkers > 0, kindKubelet, "containerLogMaxWorkers", "must be positive")
	v.check(k.ContainerLogMonitorInterval == nil || k.ContainerLogMonitorInterval.Duration >= 3*time.Second, kindKubelet,
		"containerLogMonitorInterval", "must be at least 3s")
	if k.ContainerLogMaxSize != "" {
		q, err := resource.ParseQuantity(k.ContainerLogMaxSize)
		v.check(err == nil && q.Sign() > 0, kindKubelet, "containerLogMaxSize",
			strconv.Quote(k.ContainerLogMaxSize)+" is not a size", `write it as "10Mi"`)
	}
}

// quantities checks reservations: amounts of what a node can reserve.
func (v *validator) quantities(path string, amounts map[string]string) {
	for name, amount := range amounts {
		at := path + "." + name
		switch corev1.ResourceName(name) {
		case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, "pid":
		default:
			v.add(kindKubelet, at, "can not be reserved", "cpu, memory, ephemeral-storage and pid can")
		}
		q, err := resource.ParseQuantity(amount)
		v.check(err == nil && q.Sign() >= 0, kindKubelet, at, fmt.Sprintf("%q is not an amount", amount), `write it as "500m" or "1Gi"`)
	}
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
