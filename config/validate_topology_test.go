package config

import (
	"strings"
	"testing"
)

func TestTopology(t *testing.T) {
	const options = "topologyManagerPolicyOptions: "
	for text, want := range map[string]string{
		"topologyManagerPolicy: restricted\ntopologyManagerScope: pod\n" + options + `{prefer-closest-numa-nodes: "true", max-allowable-numa-nodes: "16"}`: "",

		"topologyManagerPolicy: near":                                         `"near" is not known; use one of none, best-effort, restricted, single-numa-node`,
		"topologyManagerScope: node":                                          `"node" is not known; use one of container, pod`,
		"topologyManagerPolicy: best-effort\n" + options + `{near: "true"}`:   `unknown Topology Manager Policy option: "near"`,
		"topologyManagerPolicy: none\n" + options + `{near: "true"}`:          "",
		"topologyManagerPolicy: none\ntopologyManagerScope: none\n" + options: `"none" is not known`,
	} {
		i, err := LoadInit(InitOptions{Data: []byte("apiVersion: boot.internal/v1\nkind: BootConfiguration\n---\n" +
			"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n" + text), Host: testHost()})
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", text, err, want)
		case err == nil && len(i.Warnings) > 0:
			t.Errorf("%s: warnings %q", text, i.Warnings)
		}
	}
}
