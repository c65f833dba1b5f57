package spec_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/spec"
)

// A container runs on its CPUs; if these are its own, all the time.
func TestCPUs(t *testing.T) {
	const text = "spec: {containers: [{name: a, resources: {limits: {cpu: 1}}}]}"
	n := node()
	for _, c := range []struct {
		cpus        func(types.UID, string) (string, bool)
		enforced    bool
		want        string
		quota, pods int64
	}{
		{nil, true, "", 100000, 100000},
		{func(types.UID, string) (string, bool) { return "0-2", false }, true, "0-2", 100000, 100000},
		{func(_ types.UID, name string) (string, bool) { return "3", name == "a" }, true, "3", -1, -1},
		{func(_ types.UID, name string) (string, bool) { return "3", name == "a" }, false, "3", 0, 0},
	} {
		n := n
		n.CPUs = c.cpus
		if !c.enforced {
			n.CPUPeriod = 0
		}
		r := made(t, n, text).Linux.Resources
		sandbox, err := spec.Sandbox(parse(t, text), n, spec.SandboxInput{})
		if err != nil {
			t.Fatal(err)
		}
		if r.CpusetCpus != c.want || r.CpuQuota != c.quota || sandbox.Linux.Resources.CpuQuota != c.pods {
			t.Errorf("%+v, sandbox %+v, want %+v", r, sandbox.Linux.Resources, c)
		}
	}
}
