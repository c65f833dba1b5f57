package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		name, scene string
		hosts, ips  []string // of the node, of the sandbox
		want        string
	}{
		{"one family", "pod\nsandbox s", []string{"192.168.0.1"}, []string{"10.0.0.7"}, "10.0.0.7 on 192.168.0.1"},
		{
			"the node's primary family first", "pod\nsandbox s",
			[]string{"fd00::1", "192.168.0.1"},
			[]string{"10.0.0.7", "fd01::7", "10.0.0.8"},
			"fd01::7 10.0.0.7 on fd00::1 192.168.0.1",
		},
		{"no address of the node yet", "pod\nsandbox s", nil, []string{"10.0.0.7"}, "10.0.0.7 on"},
		{"nonsense is not told", "pod\nsandbox s", nil, []string{"nonsense", "10.0.0.7"}, "10.0.0.7 on"},
		{"host network", "pod host\nsandbox s host", []string{"192.168.0.1"}, nil, "192.168.0.1 on 192.168.0.1"},
		{
			"host network: it does not follow the node", "pod host\nsandbox s host\nsaid phase=Running ip=192.168.0.9",
			[]string{"192.168.0.1"},
			nil, "192.168.0.9 on 192.168.0.1",
		},
		{"it is kept when the sandbox has ended", "pod\nsandbox s dead\nsaid phase=Running ip=10.0.0.9", nil, nil, "10.0.0.9 on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, c.scene)
			in.HostIPs = c.hosts
			in.Have.Sandboxes[0].IPs = c.ips
			s := status.Of(in)
			var words []string
			for _, ip := range s.PodIPs {
				words = append(words, ip.IP)
			}
			words = append(words, "on")
			for _, ip := range s.HostIPs {
				words = append(words, ip.IP)
			}
			if got := strings.Join(words, " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if len(s.PodIPs) > 0 && s.PodIP != s.PodIPs[0].IP || len(s.HostIPs) > 0 && s.HostIP != s.HostIPs[0].IP {
				t.Errorf("first of %v is not %q, or of %v not %q", s.PodIPs, s.PodIP, s.HostIPs, s.HostIP)
			}
		})
	}
}

func TestContainerDetails(t *testing.T) {
	in := input(t, "pod generation=4\nregular a\nsandbox s\nis a running attempt=2")
	asked := v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse("1")}}
	given := v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse("2")}}
	spec := &in.Pod.Spec.Containers[0]
	spec.Resources = asked
	on := v1.RecursiveReadOnlyEnabled
	spec.VolumeMounts = []v1.VolumeMount{
		{Name: "rw", MountPath: "/rw"},
		{Name: "ro", MountPath: "/ro", ReadOnly: true},
		{Name: "rro", MountPath: "/rro", ReadOnly: true, RecursiveReadOnly: &on},
		{Name: "may", MountPath: "/may", ReadOnly: true, RecursiveReadOnly: new(v1.RecursiveReadOnlyIfPossible)},
		{Name: "can", MountPath: "/can", ReadOnly: true, RecursiveReadOnly: new(v1.RecursiveReadOnlyIfPossible)},
		{Name: "image", MountPath: "/image"},
	}
	c := &in.Have.Containers[0]
	c.Mounts = []pod.Mount{{Path: "/can", RecursiveReadOnly: true}, {Path: "/image", Image: "sha256:x"}}
	c.User = &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: 7}}
	c.Resources = &given
	c.Hash = pod.ContainerHash(in.Pod, spec)

	s := status.Of(in)
	off := v1.RecursiveReadOnlyDisabled
	want := v1.ContainerStatus{
		Name: "a", Image: "a:1", ImageID: "sha256:a:1", ContainerID: "containerd://a-2", RestartCount: 2,
		Ready: true, Started: new(true), User: c.User, Resources: &given, AllocatedResources: asked.Requests,
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(in.Now.Add(-time.Minute))}},
		VolumeMounts: []v1.VolumeMountStatus{
			{Name: "rw", MountPath: "/rw"},
			{Name: "ro", MountPath: "/ro", ReadOnly: true, RecursiveReadOnly: &off},
			{Name: "rro", MountPath: "/rro", ReadOnly: true, RecursiveReadOnly: &on},
			{Name: "may", MountPath: "/may", ReadOnly: true, RecursiveReadOnly: &off},
			{Name: "can", MountPath: "/can", ReadOnly: true, RecursiveReadOnly: &on},
			{Name: "image", MountPath: "/image", VolumeStatus: &v1.VolumeStatus{Image: &v1.ImageVolumeStatus{ImageRef: "sha256:x"}}},
		},
	}
	if diff := cmp.Diff(want, s.ContainerStatuses[0]); diff != "" {
		t.Error(diff)
	}
	if s.ObservedGeneration != 4 || s.Conditions[0].ObservedGeneration != 4 {
		t.Errorf("observed generations %d, %d", s.ObservedGeneration, s.Conditions[0].ObservedGeneration)
	}
}

func TestTimes(t *testing.T) {
	in := input(t, "pod\nregular a\nsandbox s\nis a exited message=x")
	in.Now = in.Now.Add(123456789)
	in.Have.Containers[0].FinishedAt = in.Now
	in.Have.Containers[0].Message = strings.Repeat("ä", 10_000)

	s := status.Of(in)
	ended := s.ContainerStatuses[0].State.Terminated
	for name, at := range map[string]metav1.Time{
		"start": *s.StartTime, "transition": s.Conditions[0].LastTransitionTime, "end": ended.FinishedAt,
	} {
		if at.Nanosecond() != 0 {
			t.Errorf("SP-55: %s at %s", name, at)
		}
	}
	if n := len(ended.Message); n > 12<<10 || n < 12<<10-2 || strings.Contains(ended.Message, "\ufffd") {
		t.Errorf("message of %d bytes, %q…", n, ended.Message[:4])
	}

	in.Have.Sandboxes[0].CreatedAt = in.Now.Add(-time.Hour)
	if got := status.Of(in).StartTime; !got.Time.Equal(in.Now.Add(-time.Hour).Truncate(time.Second)) {
		t.Errorf("the sandbox is older than the start, %s", got)
	}
	in.Prev.StartTime = new(metav1.NewTime(in.Now.Add(-2 * time.Hour)))
	if got := status.Of(in).StartTime; !got.Time.Equal(in.Now.Add(-2 * time.Hour).Truncate(time.Second)) {
		t.Errorf("the start was said to be another one than %s", got)
	}
}

// What is of another UID is not this pod's.
func TestOtherUID(t *testing.T) {
	in := input(t, "pod uid=2\nregular a\nstopping 1s\nsandbox s uid=1\nis a running")
	s := status.Of(in)
	if s.Phase != v1.PodPending || s.ContainerStatuses[0].State.Waiting == nil || s.PodIP != "" {
		t.Errorf("%+v", s)
	}
}

func TestSeeds(t *testing.T) {
	s := of(t, "pod\nsidecar s1 startup\nregular a readiness\nregular b\nsandbox s\n"+
		"is b exited code=1\nis a running\nis s1 running\nprobe a-0 started\nprobe s1-0 started ready")
	want := map[string]pod.Verdict{"a-0": {Started: true}, "s1-0": {Started: true, Ready: true}}
	if diff := cmp.Diff(want, status.Seeds(s)); diff != "" {
		t.Errorf("IC-26: %s", diff)
	}
}

func resources(text string) v1.ResourceRequirements {
	var r v1.ResourceRequirements
	for word := range strings.FieldsSeq(text) { // cpu=1/2 asks for 1 and is limited to 2
		name, values, _ := strings.Cut(word, "=")
		request, limit, _ := strings.Cut(values, "/")
		for value, list := range map[string]*v1.ResourceList{"r" + request: &r.Requests, "l" + limit: &r.Limits} {
			if len(value) == 1 {
				continue
			}
			if *list == nil {
				*list = v1.ResourceList{}
			}
			(*list)[v1.ResourceName(name)] = resource.MustParse(value[1:])
		}
	}
	return r
}

func TestQOSClass(t *testing.T) {
	for _, c := range []struct {
		name       string
		containers []string
		pod        string
		want       v1.PodQOSClass
	}{
		{"nothing", []string{"", ""}, "", v1.PodQOSBestEffort},
		{"limits only", []string{"cpu=/1 memory=/1Gi"}, "", v1.PodQOSGuaranteed},
		{"limits and equal requests", []string{"cpu=1/1 memory=1Gi/1Gi", "cpu=1/1 memory=1Gi/1Gi"}, "", v1.PodQOSGuaranteed},
		{"less requested", []string{"cpu=1/2 memory=1Gi/1Gi"}, "", v1.PodQOSBurstable},
		{"memory alone", []string{"memory=/1Gi"}, "", v1.PodQOSBurstable},
		{"guaranteed beside best effort", []string{"cpu=/1 memory=/1Gi", ""}, "", v1.PodQOSBurstable},
		{"pod level", []string{"", "cpu=1/"}, "cpu=/1 memory=/1Gi", v1.PodQOSGuaranteed},
		{"no containers", nil, "", v1.PodQOSBestEffort},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &v1.Pod{}
			for i, text := range c.containers {
				one := v1.Container{Name: string(rune('a' + i)), Resources: resources(text)}
				if i == 0 {
					p.Spec.InitContainers = append(p.Spec.InitContainers, one)
				} else {
					p.Spec.Containers = append(p.Spec.Containers, one)
				}
			}
			if c.pod != "" {
				p.Spec.Resources = new(resources(c.pod))
			}
			p.Spec.EphemeralContainers = []v1.EphemeralContainer{{}}
			if got := status.QOSClass(p); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestResources(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	p := &v1.Pod{Spec: v1.PodSpec{
		InitContainers: []v1.Container{
			{Name: "i1", Resources: resources("cpu=3/3")},
			{Name: "s1", Resources: resources("cpu=1/1"), RestartPolicy: &always},
			{Name: "i2", Resources: resources("cpu=4/4")}, // beside s1: 5
			{Name: "s2", Resources: resources("cpu=1/1"), RestartPolicy: &always},
		},
		Containers: []v1.Container{{Name: "a", Resources: resources("cpu=1/2")}}, // beside both: 3, at most 4
		Overhead:   v1.ResourceList{"cpu": resource.MustParse("500m")},
	}}
	expect := func(name string, got v1.ResourceList, want string) {
		if got.Cpu().String() != want {
			t.Errorf("IC-47: %s %s, want %s", name, got.Cpu(), want)
		}
	}
	expect("requests", status.Requests(p), "5500m")
	expect("limits", status.Limits(p), "5500m")
	p.Spec.Resources = new(resources("cpu=2/8"))
	expect("requests set for the pod", status.Requests(p), "2500m")
	expect("limits set for the pod", status.Limits(p), "8500m")
}
