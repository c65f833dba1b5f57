package spec_test

import (
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/spec"
)

// The sandbox has the profile that is made for sandboxes, if there is one, whatever
// the pod asks for its containers.
func TestSandboxSeccomp(t *testing.T) {
	p := parse(t, "spec: {securityContext: {seccompProfile: {type: Unconfined}}}")
	for profile, want := range map[string]*cri.SecurityProfile{
		"":                  {ProfileType: cri.SecurityProfile_RuntimeDefault},
		"/lib/sandbox.json": {ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: "/lib/sandbox.json"},
	} {
		m, err := spec.Sandbox(p, node(), spec.SandboxInput{Seccomp: profile})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Linux.SecurityContext.Seccomp; got.String() != want.String() {
			t.Errorf("with profile %q: %v, want %v", profile, got, want)
		}
	}
}
