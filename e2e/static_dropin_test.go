package e2e

import (
	"encoding/json"
	"testing"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
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
	data, err := s.get(t.Context(), "https://127.0.0.1:10250/configz")
	if err != nil {
		t.Fatal(err)
	}
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
