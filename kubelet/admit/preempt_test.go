package admit_test

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/admit"
)

func api(name string, edits ...edit) *v1.Pod {
	p := static(name, edits...)
	p.Annotations = nil
	return p
}

func priority(n int32) edit { return func(p *v1.Pod) { p.Spec.Priority = &n } }

// limited makes every request a limit too, so that the pod is guaranteed.
func limited(p *v1.Pod) {
	r := &p.Spec.Containers[0].Resources
	r.Limits = r.Requests
}

const system = 2_000_000_000

func TestVictims(t *testing.T) {
	demand := asks("cpu", "1")
	for _, c := range []struct {
		name   string
		pod    *v1.Pod
		others []*v1.Pod
		want   string // names, in order
	}{
		{"nobody has to go", api("p", priority(system), demand), []*v1.Pod{api("a", asks("cpu", "500m"))}, ""},
		{"an ordinary pod puts nobody out", api("p", demand), []*v1.Pod{api("a", asks("cpu", "2"))}, ""},
		{"SP-32 a static pod does", static("p", demand), []*v1.Pod{api("a", asks("cpu", "2"))}, "a"},
		{"SP-32 but no static one", static("p", demand), []*v1.Pod{static("a", asks("cpu", "2"))}, ""},
		{"a system pod does", api("p", priority(system), demand), []*v1.Pod{api("a", asks("cpu", "2"))}, "a"},
		{"SP-32 but no static one either", api("p", priority(system+1000), demand), []*v1.Pod{static("a", priority(0), asks("cpu", "2"))}, ""},
		{"nor one of its rank", api("p", priority(system), demand), []*v1.Pod{api("a", priority(system), asks("cpu", "2"))}, ""},
		{"but one of a lower rank", api("p", priority(system+1000), demand), []*v1.Pod{api("a", priority(system), asks("cpu", "2"))}, "a"},
		{
			"nobody if all of them are not enough", api("p", priority(system), demand),
			[]*v1.Pod{api("a", asks("cpu", "400m")), static("b", asks("cpu", "1600m"))},
			"",
		},
		{
			"burstable before guaranteed", api("p", priority(system), demand),
			[]*v1.Pod{api("a", asks("cpu", "1"), asks("memory", "1Mi"), limited), api("b", asks("cpu", "1"))},
			"b",
		},
		{
			"as few as possible", api("p", priority(system), demand),
			[]*v1.Pod{api("a", asks("cpu", "600m")), api("b", asks("cpu", "400m")), api("c", asks("cpu", "1"))},
			"c",
		},
		{
			"the smallest that is enough", api("p", priority(system), demand),
			[]*v1.Pod{api("a", asks("cpu", "1"), asks("memory", "2Mi")), api("b", asks("cpu", "1"), asks("memory", "1Mi"))},
			"b",
		},
		{
			"several if need be", api("p", priority(system), asks("cpu", "2")),
			[]*v1.Pod{api("a", asks("cpu", "1200m")), api("b", asks("cpu", "800m"))},
			"a b",
		},
		{
			"a place as well", api("p", priority(system)),
			[]*v1.Pod{static("a"), static("b"), api("c")},
			"c",
		},
		{
			"nobody for a pod that cannot run anyway", api("p", priority(system), demand, selects("disk", "tape")),
			[]*v1.Pod{api("a", asks("cpu", "2"))},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var names []string
			for _, p := range admit.Victims(c.pod, c.others, node()) {
				names = append(names, p.Name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("victims %q, want %q", got, c.want)
			}
		})
	}
}
