package stats

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/cgroup"
	"boot.internal/kubelet/pod"
)

// fresh is how old a sample may be for somebody who asks.
const fresh = time.Second

// A sample is what ran at one time, and what it had used of CPU and memory.
type sample struct {
	at      time.Time
	node    cgroup.Usage
	allPods cgroup.Usage
	system  map[string]cgroup.Usage // what runs pods, by name
	pods    []podSample             // in the order of their names
}

type podSample struct {
	uid        types.UID
	key        pod.Key
	started    time.Time // when its sandbox was made
	group      string
	used       *cgroup.Usage // nil where it has no group
	sandbox    containerSample
	containers []containerSample // in the order of their names
}

type containerSample struct {
	id      string
	name    string // "" for the sandbox
	image   string
	started time.Time // when it was made
	group   string
	used    *cgroup.Usage // nil where it has no group, as in a virtual machine
}

// sample returns what runs and what it uses, as of a second ago at most.
func (m *Meter) sample(ctx context.Context) (*sample, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && time.Since(m.last.at) < fresh {
		return m.last, nil
	}
	pods, err := m.running(ctx)
	if err != nil {
		return nil, err
	}
	s := &sample{at: time.Now(), pods: pods}
	if s.node, err = m.o.Groups.Usage(m.o.Root); err != nil {
		return nil, err
	}
	s.allPods, _ = m.o.Groups.Usage(m.o.AllPods) // not there before the first pod
	s.system = m.system()
	for i := range s.pods {
		m.measure(&s.pods[i])
	}
	m.note(s)
	m.last = s
	return s, nil
}

// running lists the pods that have a sandbox, and their containers that run.
func (m *Meter) running(ctx context.Context) ([]podSample, error) {
	sandboxes, err := m.o.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
		State: &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY},
	}})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := m.o.Runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
		State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING},
	}})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	in := map[string][]containerSample{} // sandbox
	for _, c := range containers.Containers {
		in[c.PodSandboxId] = append(in[c.PodSandboxId], containerSample{
			id: c.Id, name: c.Labels[pod.LabelContainerName], image: c.GetImage().GetUserSpecifiedImage(), started: time.Unix(0, c.CreatedAt),
		})
	}
	var all []podSample
	for _, s := range sandboxes.Items {
		p := podSample{
			uid: types.UID(s.Labels[pod.LabelPodUID]), key: pod.Key{Namespace: s.Labels[pod.LabelPodNamespace], Name: s.Labels[pod.LabelPodName]},
			started: time.Unix(0, s.CreatedAt), containers: in[s.Id],
			sandbox: containerSample{id: s.Id, started: time.Unix(0, s.CreatedAt)},
		}
		if p.uid == "" {
			continue // nobody's pod
		}
		slices.SortFunc(p.containers, func(a, b containerSample) int { return strings.Compare(a.name, b.name) })
		all = append(all, p)
	}
	return newestOfEach(all), nil
}

// newestOfEach drops the older sandboxes of a pod.
func newestOfEach(all []podSample) []podSample {
	slices.SortFunc(all, func(a, b podSample) int {
		return cmp.Or(strings.Compare(a.key.String(), b.key.String()), strings.Compare(string(a.uid), string(b.uid)), b.started.Compare(a.started))
	})
	return slices.CompactFunc(all, func(a, b podSample) bool { return a.uid == b.uid })
}

// measure reads the groups of a pod and of all in it. What ends meanwhile has
// used nothing.
func (m *Meter) measure(p *podSample) {
	group, ok := m.o.Groups.PodGroup(p.uid)
	if !ok {
		return
	}
	p.group, p.used = group, m.usage(group)
	below := m.o.Groups.Below(group)
	for _, c := range append([]*containerSample{&p.sandbox}, pointers(p.containers)...) {
		// A group is named after the ID of its container, "cri-containerd-ID.scope"
		// where systemd makes it.
		if i := slices.IndexFunc(below, func(g string) bool { return strings.Contains(g[len(group):], c.id) }); i >= 0 {
			c.group, c.used = below[i], m.usage(below[i])
		}
	}
}

func pointers[T any](all []T) []*T {
	var out []*T
	for i := range all {
		out = append(out, &all[i])
	}
	return out
}

func (m *Meter) usage(group string) *cgroup.Usage {
	u, err := m.o.Groups.Usage(group)
	if err != nil {
		return nil
	}
	return &u
}
