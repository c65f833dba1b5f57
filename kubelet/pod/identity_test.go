package pod

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The golden UID: a new version of boot must not restart the control plane
// (SP-21), so this string never changes.
const golden = types.UID("34cc0aeaa891f2a78f8f7862d9ae3118")

func TestUID(t *testing.T) {
	const doc = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"etcd"},"spec":{"priority":2000001000}}`
	for _, c := range []struct {
		name, doc, node, place string
		same                   bool
	}{
		{"SP-21 golden", doc, "n1", "file:/m/etcd.yaml", true},
		{"SP-16 key order and layout", `{"kind":"Pod", "apiVersion":"v1",
			"spec":{"priority":2000001000}, "metadata":{"name":"etcd"}}`, "n1", "file:/m/etcd.yaml", true},
		{"SP-17 renamed file", doc, "n1", "file:/m/etcd2.yaml", false},
		{"SP-21 other node", doc, "n2", "file:/m/etcd.yaml", false},
		{"SP-21 other content", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"etcd"}}`, "n1", "file:/m/etcd.yaml", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := UID([]byte(c.doc), c.node, c.place)
			if err != nil || (got == golden) != c.same {
				t.Errorf("UID %s, %v; golden %s, want same %v", got, err, golden, c.same)
			}
		})
	}
	if _, err := UID([]byte("{"), "n", "file:x"); err == nil {
		t.Error("a document that is no JSON has a UID")
	}
}

func TestContainerHash(t *testing.T) {
	api := &v1.Pod{}
	static := &v1.Pod{}
	static.UID = "u"
	static.Annotations = map[string]string{ConfigSource: SourceFile, ConfigHash: "u"}
	fixed := static.DeepCopy()
	fixed.Annotations[ConfigHash] = "of the document"
	old := &v1.Container{Name: "a", Image: "i:1"}
	args := &v1.Container{Name: "a", Image: "i:1", Args: []string{"-v"}}
	image := &v1.Container{Name: "a", Image: "i:2"}
	for _, c := range []struct {
		name    string
		pod     *v1.Pod
		now     *v1.Container
		changed bool
	}{
		{"IC-21 args of an API pod", api, args, false},
		{"IC-21 image of an API pod", api, image, true},
		{"SP-21 new field with a derived UID", static, args, false},
		{"SP-40 args with a UID of the user's", fixed, args, true},
		{"SP-40 image with a UID of the user's", fixed, image, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ContainerHash(c.pod, old) != ContainerHash(c.pod, c.now); got != c.changed {
				t.Errorf("changed %v, want %v", got, c.changed)
			}
		})
	}
}
