package shutdown

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/pod"
)

func testPod(name string, priority int32) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{Priority: &priority}}
}

func TestGroups(t *testing.T) {
	seconds := func(n time.Duration) metav1.Duration { return metav1.Duration{Duration: n * time.Second} }
	for _, test := range []struct {
		name string
		c    kubeletv1beta1.KubeletConfiguration
		want []Group
	}{
		{"nothing is asked for", kubeletv1beta1.KubeletConfiguration{}, nil},
		{"all at once", kubeletv1beta1.KubeletConfiguration{ShutdownGracePeriod: seconds(30)}, []Group{{0, 30 * time.Second}, {critical, 0}}},
		{
			"critical ones last",
			kubeletv1beta1.KubeletConfiguration{ShutdownGracePeriod: seconds(30), ShutdownGracePeriodCriticalPods: seconds(10)},
			[]Group{{0, 20 * time.Second}, {critical, 10 * time.Second}},
		},
		{
			"by priority",
			kubeletv1beta1.KubeletConfiguration{ShutdownGracePeriodByPodPriority: []kubeletv1beta1.ShutdownGracePeriodByPodPriority{
				{Priority: 100, ShutdownGracePeriodSeconds: 3}, {Priority: -5, ShutdownGracePeriodSeconds: 2}, {Priority: 0, ShutdownGracePeriodSeconds: 1},
			}},
			[]Group{{-5, 2 * time.Second}, {0, time.Second}, {100, 3 * time.Second}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Groups(&test.c)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	static := testPod("static", 0)
	static.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile}
	none := testPod("none", 0)
	none.Spec.Priority = nil
	pods := []*v1.Pod{testPod("low", -100), none, testPod("ten", 10), testPod("eleven", 11), testPod("high", 99), static}
	var got []string
	for _, group := range split([]Group{{0, 0}, {10, 0}, {50, 0}}, pods) {
		var names []string
		for _, p := range group {
			names = append(names, p.Name)
		}
		got = append(got, strings.Join(names, " "))
	}
	if diff := cmp.Diff([]string{"low none", "ten eleven", "high static"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestGraceOf(t *testing.T) {
	p, g := testPod("p", 0), Group{0, 10 * time.Second}
	for own, want := range map[int64]time.Duration{-1: 10 * time.Second, 3: 3 * time.Second, 30: 10 * time.Second} {
		if p.Spec.TerminationGracePeriodSeconds = &own; own < 0 {
			p.Spec.TerminationGracePeriodSeconds = nil
		}
		if got := graceOf(p, g); got != want {
			t.Errorf("with %d s of its own it gets %s", own, got)
		}
	}
}
