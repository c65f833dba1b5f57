package manifest

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) lifecycleAndProbes(path *field.Path, ctr *v1.Container) {
	c.probe(path.Child("livenessProbe"), ctr.LivenessProbe)
	c.probe(path.Child("readinessProbe"), ctr.ReadinessProbe)
	c.probe(path.Child("startupProbe"), ctr.StartupProbe)
	c.successOnce(path.Child("livenessProbe"), ctr.LivenessProbe)
	c.successOnce(path.Child("startupProbe"), ctr.StartupProbe)
	if p := ctr.ReadinessProbe; p != nil && p.TerminationGracePeriodSeconds != nil {
		c.invalid(path.Child("readinessProbe", "terminationGracePeriodSeconds"), *p.TerminationGracePeriodSeconds,
			"a readiness probe ends nothing")
	}
	if l := ctr.Lifecycle; l != nil {
		c.hook(path.Child("lifecycle", "postStart"), l.PostStart)
		c.hook(path.Child("lifecycle", "preStop"), l.PreStop)
		if l.StopSignal != nil && c.pod.Spec.OS == nil {
			c.add(field.Forbidden(path.Child("lifecycle", "stopSignal"), "needs spec.os.name"))
		}
	}
}

// successOnce holds for probes that act on failures.
func (c *checker) successOnce(path *field.Path, p *v1.Probe) {
	if p != nil && p.SuccessThreshold != 1 {
		c.invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1")
	}
}

func (c *checker) probe(path *field.Path, p *v1.Probe) {
	if p == nil {
		return
	}
	c.handlers(path, map[string]bool{
		"exec": p.Exec != nil, "httpGet": p.HTTPGet != nil, "tcpSocket": p.TCPSocket != nil, "grpc": p.GRPC != nil,
	})
	c.exec(path, p.Exec)
	c.httpGet(path, p.HTTPGet)
	c.tcpSocket(path, p.TCPSocket)
	if p.GRPC != nil {
		c.port(path.Child("grpc", "port"), intstr.FromInt32(p.GRPC.Port))
	}
	for name, value := range map[string]int32{
		"initialDelaySeconds": p.InitialDelaySeconds, "timeoutSeconds": p.TimeoutSeconds,
		"periodSeconds": p.PeriodSeconds, "successThreshold": p.SuccessThreshold, "failureThreshold": p.FailureThreshold,
	} {
		if value < 0 {
			c.invalid(path.Child(name), value, "must not be negative")
		}
	}
	if grace := p.TerminationGracePeriodSeconds; grace != nil && *grace <= 0 {
		c.invalid(path.Child("terminationGracePeriodSeconds"), *grace, "must be greater than 0")
	}
}

func (c *checker) hook(path *field.Path, h *v1.LifecycleHandler) {
	if h == nil {
		return
	}
	c.handlers(path, map[string]bool{
		"exec": h.Exec != nil, "httpGet": h.HTTPGet != nil, "tcpSocket": h.TCPSocket != nil, "sleep": h.Sleep != nil,
	})
	c.exec(path, h.Exec)
	c.httpGet(path, h.HTTPGet)
	c.tcpSocket(path, h.TCPSocket)
	grace := *c.pod.Spec.TerminationGracePeriodSeconds
	if h.Sleep != nil && (h.Sleep.Seconds < 0 || h.Sleep.Seconds > grace) {
		c.invalid(path.Child("sleep", "seconds"), h.Sleep.Seconds,
			fmt.Sprintf("must be between 0 and terminationGracePeriodSeconds (%d)", grace))
	}
}

// handlers asks for exactly one way to probe or to hook.
func (c *checker) handlers(path *field.Path, set map[string]bool) {
	n := 0
	for _, yes := range set {
		n += count(yes)
	}
	switch {
	case n == 0:
		c.add(field.Required(path, "must specify a handler type"))
	case n > 1:
		c.add(field.Forbidden(path, "may not specify more than 1 handler type"))
	}
}

func (c *checker) exec(path *field.Path, e *v1.ExecAction) {
	if e != nil && len(e.Command) == 0 {
		c.add(field.Required(path.Child("exec", "command"), ""))
	}
}

func (c *checker) httpGet(path *field.Path, get *v1.HTTPGetAction) {
	if get == nil {
		return
	}
	path = path.Child("httpGet")
	c.port(path.Child("port"), get.Port)
	oneOf(c, path.Child("scheme"), get.Scheme, v1.URISchemeHTTP, v1.URISchemeHTTPS)
	for i, h := range get.HTTPHeaders {
		c.invalid(path.Child("httpHeaders").Index(i).Child("name"), h.Name, validation.IsHTTPHeaderName(h.Name)...)
	}
}

func (c *checker) tcpSocket(path *field.Path, tcp *v1.TCPSocketAction) {
	if tcp != nil {
		c.port(path.Child("tcpSocket", "port"), tcp.Port)
	}
}

func (c *checker) port(path *field.Path, port intstr.IntOrString) {
	if port.Type == intstr.String {
		c.invalid(path, port.StrVal, validation.IsValidPortName(port.StrVal)...)
		return
	}
	c.invalid(path, port.IntVal, validation.IsValidPortNum(port.IntValue())...)
}
