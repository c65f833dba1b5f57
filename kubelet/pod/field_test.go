package pod

import (
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestMetadataField(t *testing.T) {
	p := &v1.Pod{}
	p.Name, p.Namespace, p.UID = "a", "ns", "u"
	p.Labels, p.Annotations = map[string]string{"k": "label"}, map[string]string{"k": "annotation"}
	for path, want := range map[string]string{
		"metadata.name": "a", "metadata.namespace": "ns", "metadata.uid": "u",
		"metadata.labels['k']": "label", "metadata.annotations['k']": "annotation", "metadata.labels['none']": "",
	} {
		if got, ok := MetadataField(p, path); got != want || !ok {
			t.Errorf("%s: %q, %v; want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"", "metadata.labels", "metadata.labels['k", "spec.nodeName", "status.podIP['k']"} {
		if got, ok := MetadataField(p, path); ok {
			t.Errorf("%q is known: %q", path, got)
		}
	}
}

func TestFieldPath(t *testing.T) {
	p := &v1.Pod{}
	p.Spec.InitContainers = []v1.Container{{Name: "i"}, {Name: "s", RestartPolicy: new(v1.ContainerRestartPolicyAlways)}}
	p.Spec.Containers = []v1.Container{{Name: "c"}}
	p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "e"}}}
	for name, want := range map[string]string{
		"i": "spec.initContainers{i}", "s": "spec.initContainers{s}", "c": "spec.containers{c}",
		"e": "spec.ephemeralContainers{e}", "none": "",
	} {
		if got := FieldPath(p, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
