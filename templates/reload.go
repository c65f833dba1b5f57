package templates

import (
	"slices"

	"sigs.k8s.io/yaml"

	"boot.internal/config"
)

// ReadOnce returns those of [Files] that a component reads at its start and then
// never again, so that its pod has to be replaced when one of them changes. The
// others it notices: the API server watches what it serves and calls others with,
// and the authorities of its clients; the controller manager what it signs with;
// etcd, and whoever calls etcd, reads its certificate for every connection anew.
func ReadOnce(cfg *config.Init, component string) []string {
	var noticed []string
	switch component {
	case config.ComponentEtcd:
		noticed = pki(cfg, "etcd/server.crt", "etcd/server.key", "etcd/peer.crt", "etcd/peer.key")
	case config.ComponentAPIServer:
		noticed = pki(cfg, "ca.crt", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key",
			"front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key")
		noticed = append(noticed, pki(cfg, "apiserver-etcd-client.crt", "apiserver-etcd-client.key")...)
		if e := cfg.Cluster.Etcd.External; e != nil {
			noticed = append(noticed, e.CertFile, e.KeyFile)
		}
	case config.ComponentControllerManager:
		noticed = pki(cfg, "ca.key", "front-proxy-ca.crt")
	}
	return slices.DeleteFunc(Files(cfg, component), func(path string) bool { return slices.Contains(noticed, path) })
}

// HashOf returns the [CertsHash] of a manifest, empty if it has none.
func HashOf(manifest []byte) (string, error) {
	var pod struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	err := yaml.Unmarshal(manifest, &pod)
	return pod.Metadata.Annotations[CertsHash], err
}

// WithHash returns a manifest with another [CertsHash], and nothing else changed
// that counts.
func WithHash(manifest []byte, hash string) ([]byte, error) {
	return WithAnnotation(manifest, CertsHash, hash)
}

// WithAnnotation returns a manifest with an annotation, and nothing else changed
// that counts.
func WithAnnotation(manifest []byte, name, value string) ([]byte, error) {
	var fields map[string]any
	if err := yaml.Unmarshal(manifest, &fields); err != nil {
		return nil, err
	}
	annotations := childOf(childOf(fields, "metadata"), "annotations")
	if annotations[name] == value {
		return manifest, nil
	}
	annotations[name] = value
	return yaml.Marshal(fields)
}

// childOf returns the map that lies under a key, which it makes if need be.
func childOf(fields map[string]any, key string) map[string]any {
	child, ok := fields[key].(map[string]any)
	if !ok {
		child = map[string]any{}
		fields[key] = child
	}
	return child
}
