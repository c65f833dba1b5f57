package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"boot.internal/kubelet/cpus"
	"boot.internal/kubelet/memory"
)

// honouredKubeletFields are the fields of KubeletConfiguration that the
// embedded kubelet acts upon, with everything beneath them. Whoever teaches
// the kubelet a field adds it here.
func honouredKubeletFields() []string {
	return []string{
		"apiVersion", "kind",

		// Where pods come from.
		"staticPodPath", "staticPodURL", "staticPodURLHeader", "fileCheckFrequency", "httpCheckFrequency",

		// The node object.
		"registerNode", "registerWithTaints", "nodeStatusUpdateFrequency", "nodeStatusReportFrequency",
		"nodeLeaseDurationSeconds", "maxPods", "podCIDR", "systemReserved", "kubeReserved", "rotateCertificates",
		"serverTLSBootstrap", "providerID", "eventRecordQPS", "eventBurst", "enableControllerAttachDetach",
		"podsPerCore", "kubeAPIQPS", "kubeAPIBurst",

		// The kubelet's own servers.
		"address", "port", "readOnlyPort", "healthzPort", "healthzBindAddress",
		"tlsCertFile", "tlsPrivateKeyFile", "authentication", "authorization", "tlsMinVersion", "tlsCipherSuites", "tlsCurvePreferences",
		"enableDebuggingHandlers", "enableSystemLogHandler", "enableSystemLogQuery", "enableProfilingHandler", "enableDebugFlagsHandler",

		// The kubelet as a process, and what is told of its work.
		"oomScoreAdj", "logging", "tracing",

		// What pods get.
		"clusterDNS", "clusterDomain", "resolvConf", "containerLogMaxSize", "containerLogMaxFiles",
		"containerLogMaxWorkers", "containerLogMonitorInterval", "allowedUnsafeSysctls",
		"crashLoopBackOff", "cgroupDriver", "cgroupRoot", "failCgroupV1",
		"singleProcessOOMKill", "memorySwap", "memoryThrottlingFactor", "memoryReservationPolicy", "userNamespaces", "seccompDefault",
		"cpuCFSQuota", "cpuCFSQuotaPeriod", "podPidsLimit", "protectKernelDefaults", "podLogsDir",

		// From which CPUs and NUMA nodes.
		"cpuManagerPolicy", "cpuManagerPolicyOptions", "cpuManagerReconcilePeriod", "reservedSystemCPUs",
		"topologyManagerPolicy", "topologyManagerScope", "topologyManagerPolicyOptions",
		"memoryManagerPolicy", "reservedMemory",

		// When the node runs out of something.
		"evictionHard", "evictionSoft", "evictionSoftGracePeriod", "evictionPressureTransitionPeriod",
		"evictionMaxPodGracePeriod", "evictionMinimumReclaim", "mergeDefaultEvictionSettings",
		"kernelMemcgNotification", "localStorageCapacityIsolation", "enforceNodeAllocatable",
		"systemReservedCgroup", "kubeReservedCgroup",

		// Images that nobody uses, and those that the node lists.
		"imageMinimumGCAge", "imageMaximumGCAge", "imageGCHighThresholdPercent", "imageGCLowThresholdPercent",
		"nodeStatusMaxImages",

		// The end of the machine.
		"shutdownGracePeriod", "shutdownGracePeriodCriticalPods", "shutdownGracePeriodByPodPriority",

		// The engine.
		"containerRuntimeEndpoint", "imageServiceEndpoint", "runtimeRequestTimeout", "serializeImagePulls", "maxParallelImagePulls", "registryPullQPS", "registryBurst",
		"imagePullCredentialsVerificationPolicy", "preloadedImagesVerificationAllowlist",
	}
}

// honouredGates are the fields of featureGates that the embedded kubelet acts upon.
func honouredGates() []string {
	return []string{"featureGates." + memory.Gate, "featureGates.PodLogsQuerySplitStreams", "featureGates.PodsAPI", "featureGates." + cpus.AlphaGate, "featureGates." + cpus.BetaGate}
}

// honouredKubeletArgs are the flags of the kubelet that the embedded one
// takes from nodeRegistration.kubeletExtraArgs.
func honouredKubeletArgs() []string {
	return []string{
		"node-ip", "node-labels", "register-with-taints", "register-node", "cloud-provider", "hostname-override",
		"bootstrap-kubeconfig", "cert-dir", "config-dir", "image-credential-provider-config", "image-credential-provider-bin-dir",
	}
}

// kubeletWarnings names each field of a KubeletConfiguration that was written
// and has no effect. Of feature gates each counts for itself.
func kubeletWarnings(at positions) []string {
	const gates = "featureGates"
	honoured := append(honouredKubeletFields(), honouredGates()...)
	var ignored []string
	for key, p := range at {
		kind, path, _ := strings.Cut(key, " ")
		top := path != "" && path != gates && !strings.ContainsAny(path, ".[") || strings.HasPrefix(path, gates+".")
		if kind == kindKubelet && top && !p.blank && !slices.Contains(honoured, path) {
			ignored = append(ignored, path)
		}
	}
	slices.SortFunc(ignored, func(a, b string) int {
		return cmp.Or(cmp.Compare(at[kindKubelet+" "+a].line, at[kindKubelet+" "+b].line), cmp.Compare(a, b))
	})
	for n, path := range ignored {
		ignored[n] = fmt.Sprintf("line %d: %s: %s is not honoured", at[kindKubelet+" "+path].line, kindKubelet, path)
	}
	return ignored
}

func kubeletArgWarnings(args []Arg) []string {
	var ignored []string
	for _, a := range args {
		if !slices.Contains(honouredKubeletArgs(), a.Name) {
			ignored = append(ignored, fmt.Sprintf("nodeRegistration.kubeletExtraArgs: %s is not honoured; "+
				"most flags of the kubelet are fields of KubeletConfiguration", a.Name))
		}
	}
	return ignored
}
