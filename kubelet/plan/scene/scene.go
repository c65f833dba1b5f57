// Package scene reads the scenes in which tests of plan and status are written:
// a pod, what there is of it, and what is remembered, one thing a line. Only
// tests import it.
//
//	pod policy=Never grace=30s uid=1      (without it nothing is wanted; static, host, gate=, given=)
//	init i1                               containers, in the order of the spec
//	sidecar s1 startup                    with a startup probe
//	regular a image=a:2 policy=OnFailure rule=RestartAllContainers:42
//	ephemeral e
//	regular a cpu=100m/1 memory=1Mi/2Mi restart-on=cpu,memory   requests and limits; also of a pod
//	applied a cpu=100m/1                  resources it runs with; "pod" is the pod itself
//	stop grace=5s reason=Evicted message=disk [fails]
//	stopping 3s                           tear-down began 3 s ago
//	sandbox sb uid=1 ready attempt=0      newest first; ready, dead, host, no-ip
//	is a running                          instances, newest first
//	is a exited code=1 ago=3s ran=5s backoff=10s attempt=2 in=sb id=a-2 uid=1
//	probe a-0 started ready               a verdict
//	probe a-0 unhealthy=liveness grace=5s message=refused
//	failure a retry=10s reason=ErrImagePull message=gone
//	said phase=Running ago=1h ip=10.0.0.7 what the last status said
//	said condition=Ready status=True ago=1h
//	said a running id=a-0 started ready restarts=1 last=1
//
// What is left out is what is usual: the UID is 1, the sandbox the newest one,
// the image the name with tag 1, the ID the name and the attempt. A name alone
// stands for itself with the value "yes". Lines that begin with # are comments.
package scene

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// A Scene is what a plan or a status is made from.
type Scene struct {
	Want *pod.Want
	Have pod.Observed
	Now  time.Time
	Prev v1.PodStatus // what was said last
	// Comments are the comment lines, without the #.
	Comments []string
}

// Now is the time in every scene.
func Now() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

// Parse reads a scene.
func Parse(text string) (Scene, error) {
	p := parser{Scene: Scene{Now: Now()}}
	for n, line := range strings.Split(text, "\n") {
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			p.Comments = append(p.Comments, strings.TrimSpace(comment))
			continue
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := p.line(words); err != nil {
			return Scene{}, fmt.Errorf("line %d, %q: %w", n+1, line, err)
		}
	}
	p.complete()
	return p.Scene, nil
}

type parser struct{ Scene }

// args are the words of a line after its verb and subject. Those that were not
// asked for are mistakes.
type args struct {
	subject string
	values  map[string]string
	err     error
}

func (p *parser) line(words []string) error {
	a := &args{values: map[string]string{}}
	for i, w := range words[1:] {
		key, value, given := strings.Cut(w, "=")
		switch {
		case i == 0 && !given && words[0] != "pod" && words[0] != "stop":
			a.subject = w
		case given:
			a.values[key] = value
		default:
			a.values[key] = "yes"
		}
	}
	if err := p.verb(words[0], a); err != nil {
		return err
	}
	for key := range a.values {
		return fmt.Errorf("unknown word %q", key)
	}
	return a.err
}

func (p *parser) verb(verb string, a *args) error {
	switch verb {
	case "pod":
		p.pod(a)
	case "init", "sidecar", "regular", "ephemeral":
		if p.Want == nil {
			return fmt.Errorf("a container before its pod")
		}
		p.declare(pod.Kind(verb), a)
	case "stop":
		p.Want.Stop = &pod.Stop{
			Grace: a.duration("grace", 30*time.Second), Reason: a.text("reason", ""), Message: a.text("message", ""),
			Since: Now(), Fails: a.flag("fails"),
		}
	case "applied":
		p.applied(a)
	case "stopping":
		a.values["ago"] = a.subject
		p.Have.Stopping = Now().Add(-a.duration("ago", 0))
	case "sandbox":
		p.sandbox(a)
	case "is":
		p.instance(a)
	case "probe":
		p.probe(a)
	case "failure":
		p.failure(a)
	case "said":
		p.said(a)
	default:
		return fmt.Errorf("unknown verb")
	}
	return nil
}

func (p *parser) pod(a *args) {
	v := &v1.Pod{}
	v.Namespace, v.Name = "default", "web"
	v.UID = types.UID(a.text("uid", "1"))
	v.Generation = int64(a.number("generation", 0))
	v.Spec.RestartPolicy = v1.RestartPolicy(a.text("policy", "Always"))
	v.Spec.HostNetwork = a.flag("host")
	if a.flag("static") {
		v.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile, pod.ConfigHash: string(v.UID)}
	}
	if kind := a.text("given", ""); kind != "" {
		v.Status.Conditions = []v1.PodCondition{{Type: v1.PodConditionType(kind), Status: v1.ConditionTrue}}
	}
	v.Status.Phase = v1.PodPhase(a.text("phase", ""))
	seconds := int64(a.duration("grace", 30*time.Second) / time.Second)
	v.Spec.TerminationGracePeriodSeconds = &seconds
	if gate := a.text("gate", ""); gate != "" {
		v.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: v1.PodConditionType(gate)}}
	}
	if r := resources(a); r.Limits != nil || r.Requests != nil {
		v.Spec.Resources = &r
	}
	p.Want = &pod.Want{Pod: v}
}

func (p *parser) declare(kind pod.Kind, a *args) {
	c := v1.Container{Name: a.subject, Image: a.text("image", a.subject+":1")}
	if policy := a.text("policy", ""); policy != "" {
		c.RestartPolicy = new(v1.ContainerRestartPolicy(policy))
	}
	if kind == pod.Sidecar {
		c.RestartPolicy = new(v1.ContainerRestartPolicyAlways)
	}
	if a.flag("startup") {
		c.StartupProbe = &v1.Probe{}
	}
	if a.flag("readiness") {
		c.ReadinessProbe = &v1.Probe{}
	}
	c.RestartPolicyRules = rules(a)
	c.Resources = resources(a)
	for name := range strings.SplitSeq(a.text("restart-on", ""), ",") {
		c.ResizePolicy = append(c.ResizePolicy, v1.ContainerResizePolicy{
			ResourceName: v1.ResourceName(name), RestartPolicy: v1.RestartContainer,
		})
	}
	spec := &p.Want.Pod.Spec
	switch kind {
	case pod.Init, pod.Sidecar:
		spec.InitContainers = append(spec.InitContainers, c)
	case pod.Regular:
		spec.Containers = append(spec.Containers, c)
	case pod.Ephemeral:
		spec.EphemeralContainers = append(spec.EphemeralContainers,
			v1.EphemeralContainer{EphemeralContainerCommon: v1.EphemeralContainerCommon(c)})
	}
}

// rules reads rule=ACTION:CODE,CODE or, for all codes but these, ACTION:!CODE.
func rules(a *args) []v1.ContainerRestartRule {
	text := a.text("rule", "")
	if text == "" {
		return nil
	}
	action, codes, _ := strings.Cut(text, ":")
	on := &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn}
	if rest, not := strings.CutPrefix(codes, "!"); not {
		on.Operator, codes = v1.ContainerRestartRuleOnExitCodesOpNotIn, rest
	}
	for code := range strings.SplitSeq(codes, ",") {
		n, err := strconv.Atoi(code)
		if err != nil {
			a.err = err
		}
		on.Values = append(on.Values, int32(n))
	}
	return []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleAction(action), ExitCodes: on}}
}

func (a *args) text(key, usual string) string {
	if v, ok := a.values[key]; ok {
		delete(a.values, key)
		return v
	}
	return usual
}

func (a *args) flag(key string) bool { return a.text(key, "") == "yes" }

func (a *args) number(key string, usual int) int {
	n, err := strconv.Atoi(a.text(key, strconv.Itoa(usual)))
	if err != nil {
		a.err = err
	}
	return n
}

func (a *args) duration(key string, usual time.Duration) time.Duration {
	d, err := time.ParseDuration(a.text(key, usual.String()))
	if err != nil {
		a.err = err
	}
	return d
}
