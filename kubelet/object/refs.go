package object

import (
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A ref names an object.
type ref struct {
	kind            kind
	namespace, name string
}

// A kind is one of the two kinds of objects that are known here.
type kind string

const (
	secret    kind = "secret" // as upstream spells them in what it says of missing ones
	configMap kind = "configmap"
)

// refsOf returns all objects that p names, optional ones as well: they may come
// into being while it runs.
func refsOf(p *v1.Pod) map[ref]bool {
	refs := collector{namespace: p.Namespace, refs: map[ref]bool{}}
	for _, r := range p.Spec.ImagePullSecrets {
		refs.add(secret, r.Name)
	}
	for _, c := range pod.Containers(p) {
		refs.addEnv(c.Container)
	}
	for i := range p.Spec.Volumes {
		refs.addVolume(&p.Spec.Volumes[i].VolumeSource)
	}
	return refs.refs
}

// A collector gathers what one pod names.
type collector struct {
	namespace string
	refs      map[ref]bool
}

func (c collector) add(k kind, name string) {
	if name != "" {
		c.refs[ref{k, c.namespace, name}] = true
	}
}

func (c collector) addEnv(container *v1.Container) {
	for _, from := range container.EnvFrom {
		if from.SecretRef != nil {
			c.add(secret, from.SecretRef.Name)
		}
		if from.ConfigMapRef != nil {
			c.add(configMap, from.ConfigMapRef.Name)
		}
	}
	for _, env := range container.Env {
		if env.ValueFrom == nil {
			continue
		}
		if r := env.ValueFrom.SecretKeyRef; r != nil {
			c.add(secret, r.Name)
		}
		if r := env.ValueFrom.ConfigMapKeyRef; r != nil {
			c.add(configMap, r.Name)
		}
	}
}

func (c collector) addVolume(src *v1.VolumeSource) {
	switch {
	case src.Secret != nil:
		c.add(secret, src.Secret.SecretName)
	case src.ConfigMap != nil:
		c.add(configMap, src.ConfigMap.Name)
	case src.CSI != nil && src.CSI.NodePublishSecretRef != nil:
		c.add(secret, src.CSI.NodePublishSecretRef.Name)
	case src.Projected != nil:
		for _, s := range src.Projected.Sources {
			if s.Secret != nil {
				c.add(secret, s.Secret.Name)
			}
			if s.ConfigMap != nil {
				c.add(configMap, s.ConfigMap.Name)
			}
		}
	}
}
