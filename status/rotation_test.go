package status

import (
	"strings"
	"testing"

	"boot.internal/kubelet/local"
)

// A rotation of authorities is nothing wrong, unless it waits for this node.
func TestJudgeRotation(t *testing.T) {
	for _, c := range []struct {
		rotation *local.Rotation
		want     string
	}{
		{nil, ""},
		{&local.Rotation{Stage: "1/trust"}, ""},
		{&local.Rotation{Stage: "1/trust", Reached: true}, ""},
		{&local.Rotation{Stage: "1/trust", Trouble: "1/trust: etcd is ill"}, "does not get to the stage 1/trust: etcd is ill"},
	} {
		r := &Report{Loop: Loop{Rotation: c.rotation}}
		r.judgeRotation()
		if got := strings.Join(r.Wrong, "\n"); got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%+v: %q", c.rotation, got)
		}
	}
}
