package resize

import (
	"encoding/json"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// News is what is to be said of the resize of a pod. Where there is a Reason it
// is an event: a resize started or waits. Its status is to be looked at anyway.
type News struct {
	Pod             *v1.Pod
	Reason, Message string
}

// Completed and Failed are the messages of the events of a resize that was
// applied, and of one that could not be. The generation is that of the pod whose
// resources were allocated.
func Completed(p *v1.Pod, generation int64) string {
	return message("Pod resize completed", p, generation, "")
}

// Failed is described with Completed.
func Failed(p *v1.Pod, generation int64, why string) string {
	return message("Pod resize error", p, generation, why)
}

// A summary is what events of resizes tell, for programs.
type summary struct {
	InitContainers []resources `json:"initContainers,omitempty"`
	Containers     []resources `json:"containers,omitempty"`
	Generation     int64       `json:"generation"`
	Error          string      `json:"error,omitempty"`
}

type resources struct {
	Name      string                  `json:"name"`
	Resources v1.ResourceRequirements `json:"resources"`
}

func message(what string, p *v1.Pod, generation int64, why string) string {
	s := summary{Generation: generation, Error: why}
	for _, d := range pod.Containers(p) {
		r := resources{d.Name, d.Resources}
		switch d.Kind {
		case pod.Init, pod.Sidecar:
			s.InitContainers = append(s.InitContainers, r)
		case pod.Regular:
			s.Containers = append(s.Containers, r)
		}
	}
	data, err := json.Marshal(s)
	if err != nil { // quantities can always be written
		return what
	}
	return what + ": " + string(data)
}
