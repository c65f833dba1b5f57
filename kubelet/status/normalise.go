package status

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxMessages bounds the termination messages of a pod, together.
const maxMessages = 12 << 10

// normalise brings a status into the form in which the API gives it back, times
// in whole seconds, so that the two can be compared (SP-55).
func normalise(s *v1.PodStatus) {
	if s.StartTime != nil {
		toSeconds(s.StartTime)
	}
	for i := range s.Conditions {
		toSeconds(&s.Conditions[i].LastProbeTime)
		toSeconds(&s.Conditions[i].LastTransitionTime)
	}
	lists := [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses}
	n := 0
	for _, list := range lists {
		n += len(list)
	}
	for _, list := range lists {
		for i := range list {
			normaliseState(&list[i].State, maxMessages/n)
			normaliseState(&list[i].LastTerminationState, maxMessages/n)
		}
	}
}

func normaliseState(s *v1.ContainerState, most int) {
	if s.Running != nil {
		toSeconds(&s.Running.StartedAt)
	}
	if t := s.Terminated; t != nil {
		toSeconds(&t.StartedAt)
		toSeconds(&t.FinishedAt)
		t.Message = strings.ToValidUTF8(t.Message[:min(len(t.Message), most)], "")
	}
}

func toSeconds(t *metav1.Time) { *t = t.Rfc3339Copy() }
