package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kubeletapis "k8s.io/kubelet/pkg/apis"
)

// externalCloud is the one cloud provider that the kubelet still knows of.
const externalCloud = "external"

// readNodeFlags reads the flags that say what the node is, and puts those that
// are fields of the configuration there.
func (l *loop) readNodeFlags() error {
	f, c := l.flags, &l.config.Kubelet
	ips, ipErr := nodeIPs(f.nodeIP, l.host.Default)
	taints, taintErr := readTaints(f.nodeTaints)
	if err := errors.Join(ipErr, taintErr, checkLabels(f.nodeLabels)); err != nil {
		return err
	}
	if f.cloud != "" && f.cloud != externalCloud {
		return fmt.Errorf("use --cloud-provider %s: only %q is left", f.cloud, externalCloud)
	}
	l.nodeIPs = ips
	if f.nodeIP != "" {
		l.provided = texts(ips)
	}
	if len(taints) > 0 {
		c.RegisterWithTaints = taints
	}
	if !f.register {
		c.RegisterNode = &f.register
	}
	return nil
}

func texts(ips []netip.Addr) []string {
	var all []string
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return all
}

// nodeIPs returns the IPs of the node, the primary first: those of --node-ip,
// where 0.0.0.0 and :: are the host's own of that family, else the host's own.
func nodeIPs(flag string, own []netip.Addr) ([]netip.Addr, error) {
	if flag == "" {
		return own, nil
	}
	var ips []netip.Addr
	for text := range strings.SplitSeq(flag, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("read --node-ip: %w", err)
		}
		ip = ip.Unmap()
		if err := usable(ip); err != nil {
			return nil, fmt.Errorf("use --node-ip %s: %w", ip, err)
		}
		ips = append(ips, ip)
	}
	switch {
	case len(ips) == 1 && ips[0].IsUnspecified():
		return preferring(ips[0].Is6(), own), nil
	case len(ips) == 1:
		return ips, nil
	case len(ips) > 2 || ips[0].Is6() == ips[1].Is6() || ips[0].IsUnspecified() || ips[1].IsUnspecified():
		return nil, errors.New("use --node-ip: two are one IPv4 and one IPv6 address")
	}
	return ips, nil
}

// usable says why others cannot reach a node by an IP.
func usable(ip netip.Addr) error {
	switch {
	case ip.IsLoopback():
		return errors.New("it is a loopback address")
	case ip.IsMulticast():
		return errors.New("it is a multicast address")
	case ip.IsLinkLocalUnicast():
		return errors.New("it is a link-local address")
	}
	return nil
}

// preferring returns the IP of a family, or if there is none that of the other.
func preferring(six bool, own []netip.Addr) []netip.Addr {
	if i := slices.IndexFunc(own, func(ip netip.Addr) bool { return ip.Is6() == six }); i >= 0 {
		return own[i : i+1]
	}
	return own[:min(1, len(own))]
}

// checkLabels refuses labels that the API server would not let a node give
// itself, and those that are none.
func checkLabels(labels map[string]string) error {
	var wrong []error
	for key, value := range labels {
		for _, msg := range slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)) {
			wrong = append(wrong, fmt.Errorf("use --node-labels %s=%s: %s", key, value, msg))
		}
		if reservedLabel(key) && !kubeletapis.IsKubeletLabel(key) {
			wrong = append(wrong, fmt.Errorf("use --node-labels %s: a node may not give itself labels of kubernetes.io or k8s.io", key))
		}
	}
	return errors.Join(wrong...)
}

func reservedLabel(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	if !found {
		return false
	}
	return slices.ContainsFunc([]string{"kubernetes.io", "k8s.io"}, func(of string) bool {
		return domain == of || strings.HasSuffix(domain, "."+of)
	})
}

// readTaints reads taints of the form key=value:effect or key:effect.
func readTaints(texts []string) ([]v1.Taint, error) {
	var taints []v1.Taint
	for _, text := range texts {
		spec, effect, found := strings.Cut(text, ":")
		key, value, _ := strings.Cut(spec, "=")
		t := v1.Taint{Key: key, Value: value, Effect: v1.TaintEffect(effect)}
		known := []v1.TaintEffect{v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute}
		if !found || !slices.Contains(known, t.Effect) ||
			len(validation.IsQualifiedName(key))+len(validation.IsValidLabelValue(value)) > 0 {
			return nil, fmt.Errorf("read --register-with-taints: %q is not key=value:effect with one of the effects %v", text, known)
		}
		if slices.ContainsFunc(taints, func(o v1.Taint) bool { return o.Key == t.Key && o.Effect == t.Effect }) {
			return nil, fmt.Errorf("read --register-with-taints: %s:%s is named twice", t.Key, t.Effect)
		}
		taints = append(taints, t)
	}
	return taints, nil
}
