package e2e

import (
	"context"
	"encoding/json"
	"testing"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/e2e/internal/lab"
)

// dropIns is where boot kubelet is told to find more of its configuration.
const dropIns = "/etc/kubelet.conf.d"

// standaloneDropIn keeps pods that crash from being waited for.
const standaloneDropIn = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
crashLoopBackOff: {maxContainerRestartPeriod: 2s}
`

// dropIns sees that what a drop-in says is in force beside what the file says.
// That back-off really is that short, others see.
func (s *standalone) dropIns(t *testing.T) {
	var data []byte
	lab.Until(t, patience, "read the configuration in force", func(ctx context.Context) (err error) { // it may be well and not serve yet
		data, err = s.get(ctx, "https://127.0.0.1:10250/configz")
		return err
	})
	var answer struct {
		Config kubeletv1beta1.KubeletConfiguration `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatal(err)
	}
	longest := answer.Config.CrashLoopBackOff.MaxContainerRestartPeriod
	if longest == nil || longest.Seconds() != 2 || answer.Config.StaticPodPath != manifests {
		t.Errorf("configuration in force: %s", data)
	}
}
