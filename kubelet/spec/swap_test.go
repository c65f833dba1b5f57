package spec_test

import (
	"testing"

	"boot.internal/kubelet/spec"
)

// TestLimitedSwap shows who gets how much of 8 GiB of swap on a node of 16 GiB.
func TestLimitedSwap(t *testing.T) {
	n := node()
	n.Unified, n.Swap = true, spec.Swap{Counted: true, Limited: true, Total: 8 << 30}
	for _, c := range []struct{ name, pod, want string }{
		{"burstable", "spec: {containers: [{name: a, resources: {requests: {memory: 4Gi}}}]}", "2147483648"},
		{"burstable, with a limit", "spec: {containers: [{name: a, resources: {requests: {memory: 4Gi}, limits: {memory: 8Gi}}}]}", "2147483648"},
		{"as much as it may have", "spec: {containers: [{name: a, resources: {requests: {memory: 1Gi}, limits: {memory: 1Gi}}}]}", "0"},
		{"no memory asked for", "spec: {containers: [{name: a, resources: {requests: {cpu: 1}}}]}", "0"},
		{"best effort", "spec: {containers: [{name: a}]}", "0"},
		{"SP-32 critical", "spec: {priority: 2000000000, containers: [{name: a, resources: {requests: {memory: 4Gi}}}]}", "0"},
		{
			"SP-32 static", `{metadata: {annotations: {kubernetes.io/config.source: file}}, spec: {containers: [{name: a, resources: {requests: {memory: 4Gi}}}]}}`,
			"0",
		},
		{"more than there is", "spec: {containers: [{name: a, resources: {requests: {memory: 32Gi}}}]}", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := made(t, n, c.pod).Linux.Resources.Unified["memory.swap.max"]; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
