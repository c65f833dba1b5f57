package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// golden compares got with a file of testdata, or rewrites the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestDefaultKubelet(t *testing.T) {
	var k kubeletv1beta1.KubeletConfiguration
	DefaultKubelet(&k)
	data, err := MarshalKubelet(&k)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/kubelet/defaults.yaml", string(data))
}

// Serving certificates are signed by the cluster unless somebody says no.
func TestServingCertificatesAreTheClusters(t *testing.T) {
	for text, want := range map[string]bool{"": true, "serverTLSBootstrap: false": false, "serverTLSBootstrap: true": true} {
		i, err := LoadInit(InitOptions{Data: []byte("apiVersion: boot.internal/v1\nkind: BootConfiguration\n---\n" +
			"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n" + text), Host: testHost()})
		if err != nil {
			t.Fatal(err)
		}
		if got := i.Kubelet.ServerTLSBootstrap; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// The file is what the upstream kubelet v1.37.2 fills into an empty document.
func TestDefaultKubeletIsTheUpstreamOne(t *testing.T) {
	data, err := os.ReadFile("testdata/kubelet/upstream-defaults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := yaml.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	// See DefaultKubelet for why boot differs here.
	delete(want, "cgroupDriver")
	want["containerRuntimeEndpoint"] = ""
	want["failCgroupV1"] = false
	var k kubeletv1beta1.KubeletConfiguration
	DefaultKubelet(&k)
	data, err = MarshalKubelet(&k)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultKubeletFollowsWhatIsSet(t *testing.T) {
	k := kubeletv1beta1.KubeletConfiguration{MaxParallelImagePulls: ptr.To[int32](4)}
	k.NodeStatusUpdateFrequency.Duration = 7
	DefaultKubelet(&k)
	if *k.SerializeImagePulls {
		t.Error("several parallel pulls, and serial all the same")
	}
	if k.NodeStatusReportFrequency.Duration != 7 {
		t.Errorf("report frequency %s; want the update frequency", k.NodeStatusReportFrequency.Duration)
	}
}

func TestLoadKubelet(t *testing.T) {
	const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
	tests := []struct {
		name, data string
		warnings   []string
		err        string
	}{
		{name: "honoured", data: head + "staticPodPath: /m\nauthentication: {anonymous: {enabled: true}}\n"},
		{
			name: "ignored", data: head + "runOnce: true\ncontentType: x\nimageMinimumGCAge: 0s\nfailSwapOn: false\n",
			warnings: []string{
				"line 3: KubeletConfiguration: runOnce is not honoured",
				"line 4: KubeletConfiguration: contentType is not honoured",
				"line 6: KubeletConfiguration: failSwapOn is not honoured",
			},
		},
		{name: "beside boot's own", data: head + "---\napiVersion: boot.internal/v1\nkind: BootConfiguration\nnetwork: none\n"},
		{name: "wrong", data: head + "port: -1\n", err: "read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 7: port: -1 is not a port; ports go from 1 to 65535"},
		{
			name: "nothing to keep free", data: head + "evictionHard: {memory.available: \"-1\"}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 34: evictionHard.memory.available: "-1" is no amount to keep free; write it as "100Mi" or "10%"`,
		},
		{
			name: "soft without time", data: head + "evictionSoft: {memory.available: 5%}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 34: evictionSoft.memory.available: it has no grace period; give it one in evictionSoftGracePeriod`,
		},
		{
			name: "images", data: head + "imageGCHighThresholdPercent: 70\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 1, column 1: imageGCLowThresholdPercent: 80 is not below imageGCHighThresholdPercent, 70`,
		},
		{
			name: "CPUs for containers alone",
			data: head + "cpuManagerPolicy: static\ncpuManagerPolicyOptions: {full-pcpus-only: \"true\", align-by-socket: \"true\"}\nreservedSystemCPUs: 0-1,8\n" +
				"featureGates: {CPUManagerPolicyAlphaOptions: true}\n",
		},
		{
			name: "CPUs of nobody", data: head + "cpuManagerPolicy: static\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 19: cpuManagerPolicy: the static policy requires systemReserved.cpu + kubeReserved.cpu to be greater than zero; or name CPUs in reservedSystemCPUs`,
		},
		{name: "process and logs", data: head + "oomScoreAdj: -1000\npodLogsDir: /data/logs\nlogging: {format: json, verbosity: 4}\n"},
		{
			name: "no such format", data: head + "logging: {format: xml}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 19: logging.format: "xml" is not known; use one of text, json`,
		},
		{
			name: "score out of range", data: head + "oomScoreAdj: 1001\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 14: oomScoreAdj: 1001 is not between -1000 and 1000`,
		},
		{
			name: "logs somewhere", data: head + "podLogsDir: logs\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 13: podLogsDir: "logs" is not an absolute path`,
		},
		{
			name: "logs in a roundabout way", data: head + "podLogsDir: /data/logs/\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 13: podLogsDir: "/data/logs/" is not as short as it can be; write it as /data/logs`,
		},
		{
			name: "logs in German", data: head + "podLogsDir: /protokoll/für/pods\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 13: podLogsDir: "/protokoll/für/pods" has characters that are not ASCII`,
		},
		{name: "traces", data: head + "tracing: {endpoint: \"collector:4317\", samplingRatePerMillion: 1000000}\n"},
		{
			name: "more than all traces", data: head + "tracing: {samplingRatePerMillion: 1000001}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 35: tracing.samplingRatePerMillion: Invalid value: 1000001: sampling rate per million must be less than or equal to one million`,
		},
		{
			name: "traces over HTTP", data: head + "tracing: {endpoint: \"http://collector:4317\"}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 21: tracing.endpoint: Invalid value: "http://collector:4317": unsupported scheme: http.  Options are none, dns, unix, or unix-abstract.  See https://github.com/grpc/grpc/blob/master/doc/naming.md`,
		},
		{
			name: "no CPUs", data: head + "reservedSystemCPUs: few\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 21: reservedSystemCPUs: "few" is not a list of CPUs; write it as "0-1,8"`,
		},
		{
			name: "CPUs and a group", data: head + "reservedSystemCPUs: \"0\"\nsystemReservedCgroup: /sys\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 21: reservedSystemCPUs: can't be used with systemReservedCgroup or kubeReservedCgroup`,
		},
		{
			name: "options of no policy", data: head + "cpuManagerPolicyOptions: {full-pcpus-only: \"true\"}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 26: cpuManagerPolicyOptions: are those of the policy static`,
		},
		{
			name: "options behind a gate", data: head + "cpuManagerPolicy: static\nkubeReserved: {cpu: 100m}\ncpuManagerPolicyOptions: {align-by-socket: \"true\"}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 5, column 26: cpuManagerPolicyOptions: CPU Manager Policy Alpha-level Options not enabled, but option "align-by-socket" provided`,
		},
		{
			name: "enforcement", data: head + "enforceNodeAllocatable: [pods, kube-reserved]\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 25: enforceNodeAllocatable: kube-reserved needs kubeReservedCgroup`,
		},
		{name: "memory that is kept", data: head + "memoryReservationPolicy: TieredReservation\nmemoryThrottlingFactor: 0.5\nfeatureGates: {MemoryQoS: true}\n"},
		{
			name: "gates", data: head + "featureGates: {MemoryQoS: false, Other: true}\nmemoryThrottlingFactor: 0.9\n",
			warnings: []string{"line 3: KubeletConfiguration: featureGates.Other is not honoured"},
		},
		{
			name: "throttling", data: head + "memoryThrottlingFactor: 1.1\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 25: memoryThrottlingFactor: must be more than 0 and at most 1`,
		},
		{
			name: "throttling behind its gate", data: head + "memoryThrottlingFactor: 0.8\nfeatureGates: {MemoryQoS: false}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 25: memoryThrottlingFactor: needs the feature gate MemoryQoS, which is closed`,
		},
		{
			name: "reservation", data: head + "memoryReservationPolicy: Some\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 26: memoryReservationPolicy: "Some" is not known; use one of None, TieredReservation`,
		},
		{
			name: "reservation behind its gate", data: head + "memoryReservationPolicy: TieredReservation\nfeatureGates: {MemoryQoS: false}\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 26: memoryReservationPolicy: needs the feature gate MemoryQoS, which is closed`,
		},
		{
			name: "shutdown", data: head + "shutdownGracePeriod: 5s\nshutdownGracePeriodCriticalPods: 6s\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 4, column 34: shutdownGracePeriodCriticalPods: must not be more than shutdownGracePeriod`,
		},
		{name: "unknown", data: head + "maxpods: 1\n", err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 1: maxpods: unknown field; did you mean "maxPods"?`},
		{name: "of something else", data: "", err: "read kubelet.yaml: the file has no KubeletConfiguration; boot reads " + supported()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := LoadKubelet(LoopOptions{Path: "kubelet.yaml", Data: []byte(tt.data)})
			if err != nil || tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v; want %s", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.warnings, l.Warnings); diff != "" {
				t.Error(diff)
			}
			if l.Kubelet.MaxPods != 110 || l.Boot.ImagesDir == "" {
				t.Errorf("not defaulted: %+v", l)
			}
			if want := strings.Contains(tt.data, "network: none"); want != (l.Boot.Network == NetworkNone) {
				t.Errorf("network %q", l.Boot.Network)
			}
		})
	}
	if l, err := LoadKubelet(LoopOptions{}); err != nil || l.Kubelet.Port != 10250 {
		t.Errorf("without a file: %+v, %v", l, err)
	}
}

// The table of honoured fields must name fields that exist.
func TestHonouredKubeletFieldsExist(t *testing.T) {
	for _, f := range honouredKubeletFields() {
		if find(kubeletType(), f, 1) == "" {
			t.Errorf("%s is not a field of KubeletConfiguration", f)
		}
	}
}
