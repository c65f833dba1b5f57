package phases

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// ownProbe returns what asks the containers of a static pod in the way that its
// manifest says. It needs neither certificates nor a configuration, and serves for
// manifests of kubeadm as well. Containers without an HTTP probe are never ill.
func ownProbe(manifest []byte) (func(context.Context) error, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, err
	}
	var urls []string
	for i := range pod.Spec.Containers {
		if url := probeURL(&pod.Spec.Containers[i]); url != "" {
			urls = append(urls, url)
		}
	}
	return func(ctx context.Context) error { return askAll(ctx, urls) }, nil
}

// askAll asks as the kubelet does: whoever answers need not prove who it is.
func askAll(ctx context.Context, urls []string) error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // what a probe of the kubelet does
	defer transport.CloseIdleConnections()
	var errs []error
	for _, url := range urls {
		if err := ask(ctx, transport, url); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// probeURL is what says most about a container: that it is ready, else that it has
// started, else that it lives. Static pods with probes over the network are those
// of the host's network.
func probeURL(c *corev1.Container) string {
	for _, p := range []*corev1.Probe{c.ReadinessProbe, c.StartupProbe, c.LivenessProbe} {
		if p != nil && p.HTTPGet != nil {
			get := p.HTTPGet
			port := strconv.Itoa(portOf(c, get.Port))
			scheme := strings.ToLower(cmp.Or(string(get.Scheme), "http"))
			return fmt.Sprintf("%s://%s%s", scheme, net.JoinHostPort(cmp.Or(get.Host, "localhost"), port), get.Path)
		}
	}
	return ""
}

// portOf resolves the name of a port.
func portOf(c *corev1.Container, port intstr.IntOrString) int {
	if port.Type == intstr.Int {
		return port.IntValue()
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort)
		}
	}
	return 0
}
