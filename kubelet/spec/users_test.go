package spec_test

import (
	"testing"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// TestUsersMissing keeps a pod from running as the users of the node where it
// asks for its own, and the other way round.
func TestUsersMissing(t *testing.T) {
	own := parse(t, "spec: {hostUsers: false}")
	if _, err := spec.Sandbox(own, node(), spec.SandboxInput{}); err == nil {
		t.Error("a pod of its own users got those of the node")
	}
	plain := parse(t, "")
	if _, err := spec.Sandbox(plain, node(), spec.SandboxInput{Users: pod.IDRange{First: 65536, Count: 65536}}); err == nil {
		t.Error("a pod of the node's users got others")
	}
}
