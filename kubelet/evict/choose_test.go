package evict

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const mi = 1 << 20

// testPod returns a pod with a priority that asks for memory, "" for none.
func testPod(name string, priority int32, memory string) *v1.Pod {
	r := v1.ResourceList{}
	if memory != "" {
		r[v1.ResourceMemory] = resource.MustParse(memory)
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec: v1.PodSpec{
			Priority: &priority, TerminationGracePeriodSeconds: new(int64(30)),
			Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Requests: r}}},
			Volumes: []v1.Volume{
				{Name: "dir", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
				{Name: "ram", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}}},
				{Name: "claim", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{}}},
			},
		},
	}
}

func names(pods []*v1.Pod) string {
	var all []string
	for _, p := range pods {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func TestRankByMemory(t *testing.T) {
	pods := []*v1.Pod{
		testPod("within", 0, "1Gi"), testPod("within-more", 0, "1Gi"), testPod("important", 9, ""),
		testPod("above", 0, "100Mi"), testPod("far-above", 0, "100Mi"), testPod("unknown", 5, ""),
	}
	used := Usages{
		"within": {Memory: 100 * mi}, "within-more": {Memory: 200 * mi}, "important": {Memory: 5000 * mi},
		"above": {Memory: 110 * mi}, "far-above": {Memory: 300 * mi},
	}
	if got := names(rank(MemoryAvailable, pods, used, Layout{})); got != "unknown far-above above important within-more within" {
		t.Error(got)
	}
}

func TestRankByProcesses(t *testing.T) {
	pods := []*v1.Pod{testPod("few", 0, ""), testPod("unknown", 0, ""), testPod("many", 0, ""), testPod("low", -1, "")}
	used := Usages{"few": {Processes: 3}, "many": {Processes: 30}, "low": {Processes: 1}}
	if got := names(rank(PIDAvailable, pods, used, Layout{})); got != "low many few unknown" {
		t.Error(got)
	}
}

// TestRankByDisk has pods that use different parts of the disk: which of them
// counts depends on where the file systems are.
func TestRankByDisk(t *testing.T) {
	pods := []*v1.Pod{testPod("layer", 0, ""), testPod("logs", 0, ""), testPod("volume", 0, ""), testPod("elsewhere", 0, "")}
	used := Usages{
		"layer":     {Containers: map[string]ContainerUsage{"c": {Layer: Disk{30, 1}}}},
		"logs":      {Containers: map[string]ContainerUsage{"c": {Logs: Disk{20, 2}}}},
		"volume":    {Volumes: map[string]Disk{"dir": {10, 3}}},
		"elsewhere": {Volumes: map[string]Disk{"ram": {90, 9}, "claim": {90, 9}}},
	}
	for _, test := range []struct {
		name   string
		signal Signal
		layout Layout
		want   string
	}{
		{"bytes on one disk", NodeFSAvailable, Layout{}, "layer logs volume elsewhere"},
		{"inodes on one disk", ImageFSInodesFree, Layout{}, "volume logs layer elsewhere"},
		{"the node's, images on their own", NodeFSAvailable, Layout{Images: true}, "logs volume layer elsewhere"},
		{"the images', on their own", ImageFSAvailable, Layout{Images: true}, "layer logs volume elsewhere"},
		{"the containers', with images", ContainerFSAvailable, Layout{Images: true}, "layer logs volume elsewhere"},
		{"the containers', with the node", ContainerFSAvailable, Layout{Images: true, Containers: true}, "layer logs volume elsewhere"},
		{"the images', without containers", ImageFSAvailable, Layout{Images: true, Containers: true}, "layer logs volume elsewhere"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := names(rank(test.signal, pods, used, test.layout)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	hard := Threshold{Signal: MemoryAvailable, Amount: amount("100Mi")}
	seen := Levels{MemoryAvailable: {50 * mi, 1 << 30}, NodeFSAvailable: {5, 1000}, NodeFSInodesFree: {7, 200}}
	p := testPod("victim", 0, "10Mi")
	u := Usages{"victim": {Memory: 30 * mi, Containers: map[string]ContainerUsage{"c": {Memory: 30 * mi, Layer: Disk{300, 1}, Logs: Disk{41, 1}}}}}
	level := p.DeepCopy()
	level.Spec.Resources = &v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse("20Mi")}}
	for _, test := range []struct {
		name string
		t    Threshold
		pod  *v1.Pod
		used Usages
		max  int64
		want Eviction
	}{
		{"memory, hard", hard, p, u, 60, Eviction{
			Grace: 1, Cause: "memory.available", Disrupted: true,
			Message:     "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 30Mi, request is 10Mi, has larger consumption of memory. ",
			Annotations: map[string]string{"offending_containers": "c", "offending_containers_usage": "30Mi", "starved_resource": "memory"},
		}},
		{"a pod that asks for memory itself", hard, level, u, 60, Eviction{
			Grace: 1, Cause: "memory.available", Disrupted: true,
			Message: "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Pod victim was using 30Mi, request is 20Mi, has larger consumption of memory. Container c was using 30Mi, request is 10Mi, has larger consumption of memory. ",
			Annotations: map[string]string{
				"offending_pod": "victim", "offending_pod_usage": "30Mi",
				"offending_containers": "c", "offending_containers_usage": "30Mi", "starved_resource": "memory",
			},
		}},
		{"disk, soft, with the pod's own time", Threshold{Signal: NodeFSAvailable, Amount: Amount{Share: 0.5}, Grace: time.Minute}, p, u, 60, Eviction{
			Grace: 30, Cause: "nodefs.available", Disrupted: true,
			Message:     "The node was low on resource: ephemeral-storage. Threshold quantity: 500, available: 5. Container c was using 341, request is 0, has larger consumption of ephemeral-storage. ",
			Annotations: map[string]string{"offending_containers": "c", "offending_containers_usage": "341", "starved_resource": "ephemeral-storage"},
		}},
		{"inodes, soft, with the most there is", Threshold{Signal: NodeFSInodesFree, Amount: amount("10"), Grace: time.Minute}, p, u, 5, Eviction{
			Grace: 5, Cause: "nodefs.inodesFree", Disrupted: true,
			Message:     "The node was low on resource: inodes. Threshold quantity: 10, available: 7. ",
			Annotations: map[string]string{"offending_containers": "", "offending_containers_usage": "", "starved_resource": "inodes"},
		}},
		{"nothing is known of the pod", hard, p, nil, 0, Eviction{
			Grace: 1, Cause: "memory.available", Disrupted: true, Annotations: map[string]string{},
			Message: "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Choose([]Threshold{test.t}, seen, []*v1.Pod{test.pod}, test.used, Layout{}, test.max)
			test.want.Pod = test.pod
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := Choose([]Threshold{hard}, seen, nil, nil, Layout{}, 0); got != nil {
		t.Errorf("of nobody %s was chosen", got.Pod.Name)
	}
}

func TestExceeds(t *testing.T) {
	volume := testPod("volume", 0, "")
	volume.Spec.Volumes[0].EmptyDir.SizeLimit = resource.NewQuantity(10*mi, resource.BinarySI)
	volume.Spec.Volumes[1].EmptyDir.SizeLimit = resource.NewQuantity(1, resource.BinarySI) // the kernel sees to it
	limited := testPod("limited", 0, "")
	limited.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceEphemeralStorage: resource.MustParse("20Mi")}
	limited.Spec.Containers = append(limited.Spec.Containers, v1.Container{Name: "d", Resources: v1.ResourceRequirements{
		Limits: v1.ResourceList{v1.ResourceEphemeralStorage: resource.MustParse("30Mi")},
	}})
	wrote := func(layer, logs int64) Usage {
		return Usage{Storage: layer + logs, Containers: map[string]ContainerUsage{"c": {Layer: Disk{layer, 1}, Logs: Disk{logs, 1}}}}
	}
	for _, test := range []struct {
		name    string
		pod     *v1.Pod
		u       Usage
		l       Layout
		message string
	}{
		{"a volume at its limit", volume, Usage{Volumes: map[string]Disk{"dir": {10 * mi, 1}, "ram": {mi, 1}}}, Layout{}, ""},
		{"a volume above it", volume, Usage{Volumes: map[string]Disk{"dir": {10*mi + 1, 1}}}, Layout{}, `Usage of EmptyDir volume "dir" exceeds the limit "10Mi". `},
		{"a container at its limit", limited, wrote(10*mi, 10*mi), Layout{}, ""},
		{"a container above it", limited, wrote(10*mi, 11*mi), Layout{}, `Container c exceeded its local ephemeral storage limit "20Mi". `},
		{"layers are elsewhere", limited, wrote(10*mi, 11*mi), Layout{Images: true}, ""},
		{"the pod above the sum", limited, wrote(50*mi, mi), Layout{}, "Pod ephemeral local storage usage exceeds the total limit of containers 50Mi. "},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Exceeds(test.pod, test.u, test.l)
			switch {
			case got == nil && test.message != "":
				t.Error("it may stay")
			case got != nil && (got.Message != test.message || got.Grace != 1 || got.Disrupted):
				t.Errorf("%+v", got)
			}
		})
	}
	if !Limited(volume) || !Limited(limited) || Limited(testPod("free", 0, "")) {
		t.Error("who has limits is not known")
	}
}
