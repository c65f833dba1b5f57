package source

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/pod"
)

// What is heard of, others may have as well.
func TestWhatIsHeardIsLeftAsItIs(t *testing.T) {
	heard := &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "p", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}, Annotations: map[string]string{"a": "b"},
	}}
	before := heard.DeepCopy()
	a, kept := &APIPods{}, map[pod.Key]*v1.Pod{}
	a.put(kept, heard)
	if diff := cmp.Diff(before, heard); diff != "" {
		t.Errorf("it was changed:\n%s", diff)
	}
	if p := kept[pod.KeyOf(heard)]; len(p.ManagedFields) > 0 || p.Annotations["a"] != "b" || p.Annotations[pod.ConfigSource] != pod.SourceAPI {
		t.Errorf("kept %+v", p.ObjectMeta)
	}
}
