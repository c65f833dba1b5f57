package phases

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/etcd"
)

// etcdPod is the manifest of a member that joined two others.
func etcdPod(args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{etcdClientURLs: "https://192.0.2.3:2379"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Command: append([]string{"etcd"}, args...)}}},
	}
}

func TestWhereTheOtherMembersAre(t *testing.T) {
	pod := etcdPod("--initial-cluster=old=https://198.51.100.1:2380",
		"--initial-cluster=cp1=https://192.0.2.1:2380,cp2=https://[2001:db8::2]:2380", "--initial-advertise-peer-urls=https://192.0.2.3:2380")
	want := []string{"https://192.0.2.1:2379", "https://[2001:db8::2]:2379"}
	if diff := cmp.Diff(want, peersClientURLs(pod)); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		m    etcd.Member
		want bool
	}{
		{etcd.Member{PeerURLs: []string{"https://192.0.2.3:2380"}}, true}, // not started, so clients do not reach it yet
		{etcd.Member{Name: "cp3", PeerURLs: []string{"https://10.0.0.3:2380"}, ClientURLs: []string{"https://192.0.2.3:2379"}}, true},
		{etcd.Member{Name: "cp1", PeerURLs: []string{"https://192.0.2.1:2380"}, ClientURLs: []string{"https://192.0.2.1:2379"}}, false},
	} {
		if got := runsIn(pod, c.m); got != c.want {
			t.Errorf("%+v: %t", c.m, got)
		}
	}
	if urls := peersClientURLs(&corev1.Pod{}); len(urls) > 0 || len(clientURLs(&corev1.Pod{})) > 0 {
		t.Errorf("of nobody: %q", urls)
	}
}
