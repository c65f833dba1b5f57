package source

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

func named(name, uid string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(uid)}}
}

func TestMerge(t *testing.T) {
	m := NewMerge(pod.SourceFile, pod.SourceHTTP, pod.SourceAPI)
	if m.Synced(pod.SourceFile) {
		t.Error("SP-45 synced before the first snapshot")
	}
	mirror := named("static", "of the API")
	mirror.Annotations = map[string]string{pod.ConfigMirror: "h"}
	m.Put(Snapshot{Origin: pod.SourceAPI, Pods: []*v1.Pod{named("a", "api"), mirror, named("b", "other")}})
	m.Put(Snapshot{Origin: pod.SourceHTTP, Partial: true})
	m.Put(Snapshot{Origin: pod.SourceFile, Pods: []*v1.Pod{named("a", "file"), named("static", "of the file")}})

	pods, problems := m.Desired()
	var got []types.UID
	for _, p := range pods {
		got = append(got, p.UID)
	}
	want := []types.UID{"file", "of the file", "other"} // a file before the API; SP-58 no mirrors
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("pods %v, want %v", got, want)
	}
	if len(problems) != 1 || problems[0].Reason != Duplicate || problems[0].Pod != (pod.Key{Namespace: "ns", Name: "a"}) {
		t.Errorf("problems %v", problems)
	}
	if !m.Synced(pod.SourceFile) || m.Synced(pod.SourceHTTP) {
		t.Error("SP-45 each origin syncs on its own, and not by a partial snapshot")
	}
}

func TestProblemString(t *testing.T) {
	for want, p := range map[string]Problem{
		"/m/a.yaml:3: no": {Path: "/m/a.yaml", Line: 3, Message: "no"},
		"/m/a.yaml: no":   {Path: "/m/a.yaml", Message: "no"},
	} {
		if p.String() != want {
			t.Errorf("%s, want %s", p, want)
		}
	}
}
