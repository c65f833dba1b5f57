// Package stats measures what the node, its pods and their containers use: CPU
// and memory from control groups, processes and network from /proc, file
// systems by asking them and the container runtime.
//
// It decides what is measured and how fresh an answer is. Nothing is measured
// unless somebody asks; who asks within a second of another gets the same
// answer, and what is expensive, such as adding up the files of a volume, is
// kept for a minute. What follows from the figures is left to those who ask.
package stats

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/cgroup"
)

// Runtime is the container runtime as the one who knows what runs, and what
// containers have written to their layers.
type Runtime interface {
	ListPodSandbox(ctx context.Context, r *cri.ListPodSandboxRequest, o ...grpc.CallOption) (*cri.ListPodSandboxResponse, error)
	ListContainers(ctx context.Context, r *cri.ListContainersRequest, o ...grpc.CallOption) (*cri.ListContainersResponse, error)
	ListContainerStats(ctx context.Context, r *cri.ListContainerStatsRequest, o ...grpc.CallOption) (*cri.ListContainerStatsResponse, error)
}

// Images is the runtime as the one who knows where images and layers are.
type Images interface {
	ImageFsInfo(ctx context.Context, r *cri.ImageFsInfoRequest, o ...grpc.CallOption) (*cri.ImageFsInfoResponse, error)
}

// Groups are the control groups of the node.
type Groups interface {
	// Usage reads what a group has used.
	Usage(group string) (cgroup.Usage, error)
	// PodGroup returns the group of a pod, if it has one.
	PodGroup(uid types.UID) (string, bool)
	// Below returns the groups that are directly in a group.
	Below(group string) []string
	// Processes returns the processes in a group and in those below it.
	Processes(group string) []int
	// Detail reads what else is known of a group.
	Detail(group string) cgroup.Detail
	// Pressure returns how long a group has waited for "cpu", "memory" or "io", nil
	// where that is not known.
	Pressure(group, resource string) *cgroup.Pressure
}

// Options are what a Meter needs. All are required that do not say otherwise.
type Options struct {
	Node    string
	Runtime Runtime
	Images  Images
	Groups  Groups
	Root    string // the group that has all others in it
	AllPods string // the group of all pods

	Memory     int64 // of the machine, in bytes
	HugePages  int64 // of that, set aside for huge pages: nothing else gets it
	Started    time.Time
	RootDir    string // what is on its file system is what pods may fill: /var/lib/kubelet
	PodLogsDir string // container logs; upstream's is /var/log/pods
	// Endpoint is the socket of the runtime, to measure who listens there. "":
	// nobody is measured.
	Endpoint string
	// Pods returns the pods that the node is to run. They are shared.
	Pods func() []*v1.Pod
	// Volumes returns the volumes of a pod that can be measured.
	Volumes func(p *v1.Pod) []Volume
	Log     *slog.Logger
}

// A Meter measures. It is safe for concurrent use.
type Meter struct {
	o     Options
	asked answers

	mu     sync.Mutex // guards what follows, and measuring
	last   *sample
	rates  map[string]rate   // of CPU, by group
	filled map[string]filled // what directories hold
}

// New returns a Meter that has not measured anything yet.
func New(o Options) *Meter {
	return &Meter{o: o, rates: map[string]rate{}, filled: map[string]filled{}}
}

// Node returns the figures of the node alone, without its network and system
// containers. It asks the runtime only where images are, and is what to ask
// often.
func (m *Meter) Node(ctx context.Context) (statsapi.NodeStats, error) {
	u, err := m.o.Groups.Usage(m.o.Root)
	if err != nil {
		return statsapi.NodeStats{}, err
	}
	n := m.nodeOf(u)
	n.Fs, n.Runtime, err = m.fileSystems(ctx)
	n.Rlimit = processLimit(u.Time)
	return n, err
}

// CPUAndMemory returns the CPU and the memory that the node, its pods and their
// containers use, and nothing else.
func (m *Meter) CPUAndMemory(ctx context.Context) (*statsapi.Summary, error) {
	s, err := m.sample(ctx)
	if err != nil {
		return nil, err
	}
	return m.summarise(s), nil
}

// Summary returns all that is measured. Shares of CPU are those since somebody
// asked last, if that was within the last minute, or else those of the moment.
func (m *Meter) Summary(ctx context.Context) (*statsapi.Summary, error) {
	s, err := m.lookAgain(ctx)
	if err != nil {
		return nil, err
	}
	sum := m.summarise(s)
	n := &sum.Node
	n.Network = networkOf("/proc/self/net/dev", s.at)
	n.Rlimit = processLimit(s.at)
	if n.Fs, n.Runtime, err = m.fileSystems(ctx); err != nil {
		return nil, err
	}
	layers, err := m.layers(ctx)
	if err != nil {
		return nil, err
	}
	desired := m.desired()
	for i, p := range s.pods {
		m.fill(ctx, &sum.Pods[i], p, desired[p.uid], places{n.Fs, n.Runtime.ContainerFs, layers})
	}
	return sum, nil
}

// Running returns the pods that have a sandbox, as the API names them, with
// name and image of the containers that run and nothing else.
func (m *Meter) Running(ctx context.Context) ([]v1.Pod, error) {
	found, err := m.running(ctx)
	if err != nil {
		return nil, err
	}
	all := []v1.Pod{}
	for _, f := range found {
		p := v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.key.Namespace, Name: f.key.Name, UID: f.uid}}
		for _, c := range f.containers {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: c.name, Image: c.image})
		}
		all = append(all, p)
	}
	return all, nil
}

// Claims measures the volumes of a pod that are of claims.
func (m *Meter) Claims(ctx context.Context, p *v1.Pod) []statsapi.VolumeStats {
	var all []statsapi.VolumeStats
	for _, v := range m.o.Volumes(p) {
		if v.Claim == "" {
			continue
		}
		if s, err := m.volume(ctx, v); err == nil { // not mounted yet, there is nothing to tell
			all = append(all, statsapi.VolumeStats{
				Name: v.Name, FsStats: *s, PVCRef: &statsapi.PVCReference{Name: v.Claim, Namespace: p.Namespace},
			})
		}
	}
	return all
}

// desired returns the pods of the node by UID.
func (m *Meter) desired() map[types.UID]*v1.Pod {
	all := map[types.UID]*v1.Pod{}
	for _, p := range m.o.Pods() {
		all[p.UID] = p
	}
	return all
}
