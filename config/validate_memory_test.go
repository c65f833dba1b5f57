package config

import (
	"strings"
	"testing"
)

const kubeletDocument = "apiVersion: boot.internal/v1\nkind: BootConfiguration\n---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// checkKubelet reads fields of a KubeletConfiguration, which are refused with want in
// the words, or are honoured if that is empty.
func checkKubelet(t *testing.T, fields, want string) {
	t.Helper()
	i, err := LoadInit(InitOptions{Data: []byte(kubeletDocument + fields), Host: testHost()})
	switch {
	case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: %v, want %q", fields, err, want)
	case err == nil && len(i.Warnings) > 0:
		t.Errorf("%s: warnings %q", fields, i.Warnings)
	}
}

func TestReservedMemory(t *testing.T) {
	for by, want := range map[string]string{
		`[{numaNode: 0, limits: {memory: 1Gi, hugepages-2Mi: 4Mi}}, {numaNode: 1, limits: {memory: 1Gi}}]`: "",
		`[{numaNode: 0, limits: {cpu: "1"}}]`:                                          `the limit type "cpu" for NUMA node 0 is not supported; memory and hugepages-<size> can be reserved`,
		`[{numaNode: 1, limits: {memory: "0"}}]`:                                       `reserved memory may not be zero for NUMA node 1 and resource "memory"`,
		`[{numaNode: 0, limits: {memory: 1Gi}}, {numaNode: 0, limits: {memory: 2Gi}}]`: `reservedMemory[1].limits.memory: the reserved memory has a duplicate value for NUMA node 0 and resource "memory"`,
		`[]`: "memoryManagerPolicy: Static needs reservedMemory",
	} {
		checkKubelet(t, "memoryManagerPolicy: Static\nreservedMemory: "+by, want)
	}
	checkKubelet(t, "memoryManagerPolicy: BestEffort", `"BestEffort" is not known; use one of None, Static`)
}

// What is acted upon is not warned of, and what could not be is refused at once.
func TestFieldsOfTheNodesOwnServersAndLogs(t *testing.T) {
	for fields, want := range map[string]string{
		"tlsMinVersion: VersionTLS13\ntlsCurvePreferences: [29]\nenableDebuggingHandlers: false\nenableSystemLogQuery: true": "",
		"podsPerCore: 10\nkubeAPIQPS: 100\nkubeAPIBurst: 200\nallowedUnsafeSysctls: [net.*]":                                 "",
		"containerLogMaxWorkers: 4\ncontainerLogMonitorInterval: 3s":                                                         "",
		"containerLogMaxWorkers: 0":       "containerLogMaxWorkers: must be positive",
		"containerLogMonitorInterval: 2s": "containerLogMonitorInterval: must be at least 3s",
		"podsPerCore: -1":                 "podsPerCore: must not be negative",
		"kubeAPIQPS: -1":                  "kubeAPIQPS: must not be negative",
		"tlsMinVersion: old":              `tlsMinVersion: "old" is not known; write it as VersionTLS12`,
		"tlsCipherSuites: [ROT13]":        "tlsCipherSuites: Cipher suite ROT13 not supported or doesn't exist",
	} {
		checkKubelet(t, fields, want)
	}
}
