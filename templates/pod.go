package templates

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"boot.internal/config"
)

// Annotations that change when something changes that a pod only reads at its
// start. A static pod is replaced when its manifest changes, so exactly those
// pods restart that have to.
const (
	// ConfigHash is of the manifest, patches included, and of files rendered
	// for the pod beside it.
	ConfigHash = "boot.internal/config-hash"
	// CertsHash is of the certificates, keys and kubeconfigs the pod reads at its
	// start and then never again, see [ReadOnce].
	CertsHash = "boot.internal/certs-hash"
)

// Annotations of kubeadm, which other tools look at.
const (
	advertiseAddressAnnotation = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"
	etcdClientURLsAnnotation   = "kubeadm.kubernetes.io/etcd.advertise-client-urls"
)

// A Manifest is one static pod.
type Manifest struct {
	// Component is one of the Component constants of package config.
	Component string
	// File is the name of the file in the directory of manifests.
	File string
	// Data is the YAML to write.
	Data []byte
}

// A pod is what the templates of static pods are filled with.
type pod struct {
	Image          string
	Command        []string
	Env            []corev1.EnvVar
	Annotations    map[string]string
	Probe          endpoint
	StartupSeconds int
	Mounts         []corev1.VolumeMount
	Volumes        []corev1.Volume
}

// An endpoint is where the probes of a pod go.
type endpoint struct {
	Host   string
	Port   int32
	Scheme corev1.URIScheme
}

// Get returns the request of a probe.
func (p pod) Get(path string) corev1.HTTPGetAction {
	return corev1.HTTPGetAction{Host: p.Probe.Host, Path: path, Port: intstr.FromString("probe-port"), Scheme: p.Probe.Scheme}
}

// newPod returns what the pods of all components have in common.
func newPod(cfg *config.Init, component string) pod {
	p := pod{Image: cfg.Cluster.Image(component)}
	if t := cfg.Init.Timeouts.ControlPlaneComponentHealthCheck; t != nil {
		p.StartupSeconds = max(1, int(math.Ceil(t.Seconds())))
	}
	return p
}

// manifest renders the template of a component, patches it and annotates it.
// beside is the content of files that are rendered for this pod alone.
func manifest(component string, p pod, in Inputs, beside ...[]byte) (Manifest, error) {
	raw, err := render("manifests/"+component+".yaml", p)
	if err != nil {
		return Manifest{}, err
	}
	raw, err = in.Patches.Apply(component, raw, corev1.Pod{})
	if err != nil {
		return Manifest{}, err
	}
	var out corev1.Pod
	if err := decode(raw, &out); err != nil {
		return Manifest{}, fmt.Errorf("decode manifest of %s: %w", component, err)
	}
	if err := annotate(&out, in.CertsHash[component], beside); err != nil {
		return Manifest{}, fmt.Errorf("hash manifest of %s: %w", component, err)
	}
	data, err := encode(out)
	if err != nil {
		return Manifest{}, fmt.Errorf("encode manifest of %s: %w", component, err)
	}
	return Manifest{Component: component, File: component + ".yaml", Data: data}, nil
}

func annotate(p *corev1.Pod, certs string, beside [][]byte) error {
	spec, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[ConfigHash] = Hash(append([][]byte{spec}, beside...)...)
	if certs != "" {
		p.Annotations[CertsHash] = certs
	}
	return nil
}

// localhost is the loopback address of the family of the advertise address.
func localhost(cfg *config.Init) string {
	if ip := net.ParseIP(cfg.Init.LocalAPIEndpoint.AdvertiseAddress); ip != nil && ip.To4() == nil {
		return "::1"
	}
	return "127.0.0.1"
}

// probeHost is where a component that listens on address is probed. The empty
// string stands for the pod's own address.
func probeHost(address string) string {
	if address == "0.0.0.0" || address == "::" {
		return ""
	}
	return address
}

func hostPort(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
