package config

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// DefaultKubelet fills in the defaults that KubeletConfiguration v1beta1
// documents. Three fields stay empty, because boot finds their values on the
// host: cgroupDriver, containerRuntimeEndpoint and imageServiceEndpoint; and
// failCgroupV1 is off, because boot runs on cgroup v1.
func DefaultKubelet(k *kubeletv1beta1.KubeletConfiguration) {
	k.TypeMeta = metav1.TypeMeta{APIVersion: KubeletAPIVersion, Kind: kindKubelet}
	defaultClocks(k)
	defaultServing(k)
	defaultPods(k)
	defaultResources(k)
	defaultImages(k)
	defaultDiagnosis(k)
}

// defaultClocks fills in how often and how long.
func defaultClocks(k *kubeletv1beta1.KubeletConfiguration) {
	// Who sets how often the status is computed means how often it is sent.
	if k.NodeStatusReportFrequency.Duration == 0 {
		k.NodeStatusReportFrequency = k.NodeStatusUpdateFrequency
	}
	for field, d := range map[*metav1.Duration]time.Duration{
		&k.SyncFrequency:                              time.Minute,
		&k.FileCheckFrequency:                         20 * time.Second,
		&k.HTTPCheckFrequency:                         20 * time.Second,
		&k.StreamingConnectionIdleTimeout:             4 * time.Hour,
		&k.NodeStatusReportFrequency:                  5 * time.Minute,
		&k.NodeStatusUpdateFrequency:                  10 * time.Second,
		&k.VolumeStatsAggPeriod:                       time.Minute,
		&k.RuntimeRequestTimeout:                      2 * time.Minute,
		&k.CPUManagerReconcilePeriod:                  10 * time.Second,
		&k.EvictionPressureTransitionPeriod:           5 * time.Minute,
		&k.ImageMinimumGCAge:                          2 * time.Minute,
		&k.Authentication.Webhook.CacheTTL:            2 * time.Minute,
		&k.Authorization.Webhook.CacheAuthorizedTTL:   5 * time.Minute,
		&k.Authorization.Webhook.CacheUnauthorizedTTL: 30 * time.Second,
	} {
		setDefault(&field.Duration, d)
	}
	setDefault(&k.NodeLeaseDurationSeconds, 40)
	setDefaultPtr(&k.ContainerLogMonitorInterval, metav1.Duration{Duration: 10 * time.Second})
	setDefaultPtr(&k.CrashLoopBackOff.MaxContainerRestartPeriod, metav1.Duration{Duration: 5 * time.Minute})
	setDefaultPtr(&k.CPUCFSQuotaPeriod, metav1.Duration{Duration: 100 * time.Millisecond})
}

// defaultServing fills in the kubelet's own servers and its view of callers.
func defaultServing(k *kubeletv1beta1.KubeletConfiguration) {
	setDefaultPtr(&k.EnableServer, true)
	setDefault(&k.Address, "0.0.0.0")
	setDefault(&k.Port, 10250)
	setDefaultPtr(&k.HealthzPort, 10248)
	setDefault(&k.HealthzBindAddress, "127.0.0.1")
	setDefaultPtr(&k.Authentication.Anonymous.Enabled, false)
	setDefaultPtr(&k.Authentication.Webhook.Enabled, true)
	setDefault(&k.Authorization.Mode, kubeletv1beta1.KubeletAuthorizationModeWebhook)
	setDefaultPtr(&k.EnableDebuggingHandlers, true)
	setDefaultPtr(&k.EnableSystemLogHandler, true)
	setDefaultPtr(&k.EnableProfilingHandler, true)
	setDefaultPtr(&k.EnableDebugFlagsHandler, true)
	setDefaultPtr(&k.RegisterNode, true)
	setDefault(&k.ContentType, "application/vnd.kubernetes.protobuf")
	setDefaultPtr(&k.KubeAPIQPS, 50)
	setDefault(&k.KubeAPIBurst, 100)
	setDefaultPtr(&k.EventRecordQPS, 50)
	setDefault(&k.EventBurst, 100)
}

// defaultPods fills in what pods get.
func defaultPods(k *kubeletv1beta1.KubeletConfiguration) {
	setDefault(&k.MaxPods, 110)
	if k.PodPidsLimit == nil || *k.PodPidsLimit < 0 {
		k.PodPidsLimit = new(int64(-1))
	}
	setDefaultPtr(&k.ResolverConfig, "/etc/resolv.conf")
	setDefault(&k.HairpinMode, kubeletv1beta1.PromiscuousBridge)
	setDefault(&k.PodLogsDir, "/var/log/pods")
	setDefault(&k.ContainerLogMaxSize, "10Mi")
	setDefaultPtr(&k.ContainerLogMaxFiles, 5)
	setDefaultPtr(&k.ContainerLogMaxWorkers, 1)
	setDefault(&k.ConfigMapAndSecretChangeDetectionStrategy, kubeletv1beta1.WatchChangeDetectionStrategy)
	setDefaultPtr(&k.EnableControllerAttachDetach, true)
	setDefault(&k.VolumePluginDir, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/")
	setDefaultPtr(&k.SeccompDefault, false)
	setDefaultPtr(&k.MakeIPTablesUtilChains, true)
	setDefaultPtr(&k.IPTablesMasqueradeBit, 14)
	setDefaultPtr(&k.IPTablesDropBit, 15)
}

// defaultResources fills in how CPU, memory and cgroups are shared out.
func defaultResources(k *kubeletv1beta1.KubeletConfiguration) {
	setDefaultPtr(&k.CgroupsPerQOS, true)
	setDefaultPtr(&k.FailCgroupV1, false)
	setDefaultPtr(&k.FailSwapOn, true)
	setDefaultPtr(&k.CPUCFSQuota, true)
	setDefault(&k.CPUManagerPolicy, "none")
	setDefault(&k.MemoryManagerPolicy, kubeletv1beta1.NoneMemoryManagerPolicy)
	setDefault(&k.MemoryReservationPolicy, kubeletv1beta1.NoneMemoryReservationPolicy)
	setDefault(&k.TopologyManagerPolicy, kubeletv1beta1.NoneTopologyManagerPolicy)
	setDefault(&k.TopologyManagerScope, kubeletv1beta1.ContainerTopologyManagerScope)
	setDefaultPtr(&k.MergeDefaultEvictionSettings, false)
	setDefaultPtr(&k.LocalStorageCapacityIsolation, true)
	setDefaultPtr(&k.OOMScoreAdj, -999)
	setDefault(&k.MaxOpenFiles, 1_000_000)
	if k.EnforceNodeAllocatable == nil {
		k.EnforceNodeAllocatable = []string{"pods"}
	}
}

// defaultImages fills in how images come and go. Several parallel pulls rule
// out serial ones.
func defaultImages(k *kubeletv1beta1.KubeletConfiguration) {
	setDefaultPtr(&k.RegistryPullQPS, 5)
	setDefault(&k.RegistryBurst, 10)
	setDefaultPtr(&k.SerializeImagePulls, k.MaxParallelImagePulls == nil || *k.MaxParallelImagePulls < 2)
	setDefault(&k.ImagePullCredentialsVerificationPolicy, kubeletv1beta1.NeverVerifyPreloadedImages)
	setDefaultPtr(&k.ImageGCHighThresholdPercent, 85)
	setDefaultPtr(&k.ImageGCLowThresholdPercent, 80)
	setDefaultPtr(&k.NodeStatusMaxImages, 50)
}

// defaultDiagnosis fills in logging.
func defaultDiagnosis(k *kubeletv1beta1.KubeletConfiguration) {
	logsapi.SetRecommendedLoggingConfiguration(&k.Logging)
}
