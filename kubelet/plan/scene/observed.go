package scene

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

func (p *parser) sandbox(a *args) {
	s := pod.Sandbox{
		ID: a.subject, UID: types.UID(a.text("uid", "1")), Attempt: uint32(a.number("attempt", 0)),
		Ready: !a.flag("dead"), HostNetwork: a.flag("host"), IPs: []string{"10.0.0.7"},
	}
	a.flag("ready") // as without it, for reading aloud
	if a.flag("no-ip") || s.HostNetwork {
		s.IPs = nil
	}
	p.Have.Sandboxes = append(p.Have.Sandboxes, s)
}

func (p *parser) instance(a *args) {
	c := pod.Container{
		Name: a.subject, State: state(a), PodUID: types.UID(a.text("uid", "")), SandboxID: a.text("in", ""),
		Attempt: uint32(a.number("attempt", 0)), Kind: pod.Kind(a.text("kind", "")), Index: a.number("index", 0),
		ExitCode: int32(a.number("code", 0)), Reason: a.text("reason", ""), Message: a.text("message", ""),
		Image: a.text("image", a.subject+":1"), Backoff: a.duration("backoff", 0), Grace: a.duration("grace", 30*time.Second),
	}
	c.ID = a.text("id", fmt.Sprintf("%s-%d", c.Name, c.Attempt))
	c.ImageID = "sha256:" + c.Image
	if a.flag("hook") {
		c.PreStop = &v1.LifecycleHandler{}
	}
	ago := Now().Add(-a.duration("ago", time.Minute))
	ran := a.duration("ran", 10*time.Second)
	switch c.State {
	case pod.Running, pod.Unknown:
		c.CreatedAt, c.StartedAt = ago, ago
	case pod.Exited:
		c.CreatedAt, c.StartedAt, c.FinishedAt = ago.Add(-ran), ago.Add(-ran), ago
	default:
		c.CreatedAt = ago
	}
	p.Have.Containers = append(p.Have.Containers, c)
}

func state(a *args) pod.State {
	for _, s := range []pod.State{pod.Created, pod.Running, pod.Exited} {
		if a.flag(string(s)) {
			return s
		}
	}
	a.flag(string(pod.Unknown))
	return pod.Unknown
}

func (p *parser) probe(a *args) {
	v := pod.Verdict{Started: a.flag("started"), Ready: a.flag("ready"), Unasked: a.flag("unasked")}
	message, grace := a.text("message", ""), a.duration("grace", -1)
	if probe := a.text("unhealthy", ""); probe != "" {
		v.Unhealthy = &pod.Unhealthy{Probe: probe, Message: message}
		if grace >= 0 {
			v.Unhealthy.Grace = &grace
		}
	}
	if p.Have.Probes == nil {
		p.Have.Probes = map[string]pod.Verdict{}
	}
	p.Have.Probes[a.subject] = v
}

func (p *parser) failure(a *args) {
	name := a.subject
	switch name {
	case "sandbox":
		name = ""
	case "pod-resize":
		name = pod.ResizeTarget
	}
	if p.Have.Failures == nil {
		p.Have.Failures = map[string]pod.Failure{}
	}
	p.Have.Failures[name] = pod.Failure{
		Reason: a.text("reason", "Failed"), Message: a.text("message", "it failed"), Count: a.number("count", 1),
		At: Now().Add(-a.duration("ago", 0)), Retry: Now().Add(a.duration("retry", 0)),
	}
}

// complete fills in what follows from other lines.
func (p *parser) complete() {
	for i := range p.Have.Containers {
		c := &p.Have.Containers[i]
		newest, _ := p.Have.Sandbox(c.PodUID)
		if c.PodUID == "" && len(p.Have.Sandboxes) > 0 {
			newest = p.Have.Sandboxes[0]
		}
		if c.SandboxID == "" {
			c.SandboxID = newest.ID
		}
		if c.PodUID == "" {
			c.PodUID = p.uidOf(c.SandboxID)
		}
		p.describe(c)
	}
}

func (p *parser) uidOf(sandbox string) types.UID {
	for _, s := range p.Have.Sandboxes {
		if s.ID == sandbox {
			return s.UID
		}
	}
	return "1"
}

// describe gives an instance the kind and hash of what it was made from.
func (p *parser) describe(c *pod.Container) {
	made := v1.Container{Name: c.Name, Image: c.Image}
	c.Hash = pod.ContainerHash(&v1.Pod{}, &made)
	if p.Want == nil || c.Kind != "" {
		return
	}
	if d, ok := pod.Find(p.Want.Pod, c.Name); ok {
		c.Kind, c.Index = d.Kind, d.Index
	} else {
		c.Kind = pod.Regular
	}
}
