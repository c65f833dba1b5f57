package scene

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// said reads what the last status said: of the pod, of a condition or of a
// container.
func (p *parser) said(a *args) {
	if a.subject != "" {
		p.saidContainer(a)
		return
	}
	at := metav1.NewTime(Now().Add(-a.duration("ago", time.Hour)))
	if kind := a.text("condition", ""); kind != "" {
		p.Prev.Conditions = append(p.Prev.Conditions, v1.PodCondition{
			Type: v1.PodConditionType(kind), Status: v1.ConditionStatus(a.text("status", "True")), LastTransitionTime: at,
		})
		return
	}
	p.Prev.Phase = v1.PodPhase(a.text("phase", "Running"))
	p.Prev.Reason, p.Prev.Message = a.text("reason", ""), a.text("message", "")
	p.Prev.StartTime = &at
	if ip := a.text("ip", ""); ip != "" {
		p.Prev.PodIP, p.Prev.PodIPs = ip, []v1.PodIP{{IP: ip}}
	}
}

func (p *parser) saidContainer(a *args) {
	c := v1.ContainerStatus{
		Name: a.subject, RestartCount: int32(a.number("restarts", 0)), Ready: a.flag("ready"), Started: new(a.flag("started")),
		ContainerID: "containerd://" + a.text("id", a.subject+"-0"),
	}
	ended := &v1.ContainerStateTerminated{
		ExitCode: int32(a.number("code", 0)), Reason: a.text("reason", ""), ContainerID: c.ContainerID,
	}
	switch {
	case a.flag("running"):
		c.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(Now().Add(-time.Hour))}
	case a.flag("exited"):
		c.State.Terminated = ended
	default:
		a.flag("waiting")
		c.State.Waiting = &v1.ContainerStateWaiting{Reason: ended.Reason}
	}
	if last := a.number("last", -1); last >= 0 {
		c.LastTerminationState.Terminated = &v1.ContainerStateTerminated{
			ExitCode: int32(last), Reason: "Error", ContainerID: "containerd://" + a.text("last-id", ""),
		}
	}
	list := &p.Prev.ContainerStatuses
	if p.Want != nil {
		for _, init := range p.Want.Pod.Spec.InitContainers {
			if init.Name == c.Name {
				list = &p.Prev.InitContainerStatuses
			}
		}
	}
	*list = append(*list, c)
}
