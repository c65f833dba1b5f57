package stats

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/cgroup"
)

// summarise puts the CPU and memory of a sample into the words of the API. The
// pods are in the order of the sample.
func (m *Meter) summarise(s *sample) *statsapi.Summary {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := &statsapi.Summary{Node: m.nodeOf(s.node), Pods: []statsapi.PodStats{}}
	sum.Node.CPU = m.cpuOf(m.o.Root, &s.node)
	sum.Node.IO = m.pressed(m.o.Root, sum.Node.CPU, sum.Node.Memory)
	sum.Node.SystemContainers = m.systemContainers(s)
	for _, p := range s.pods {
		out := statsapi.PodStats{
			PodRef:    statsapi.PodReference{Namespace: p.key.Namespace, Name: p.key.Name, UID: string(p.uid)},
			StartTime: metav1.NewTime(p.started), Containers: []statsapi.ContainerStats{},
			CPU: m.cpuOf(p.group, p.used), Memory: memoryOf(p.used), Swap: swapOf(p.used),
		}
		out.IO = m.pressed(p.group, out.CPU, out.Memory)
		for _, c := range p.containers {
			one := statsapi.ContainerStats{
				Name: c.name, StartTime: metav1.NewTime(c.started),
				CPU: m.cpuOf(c.group, c.used), Memory: memoryOf(c.used), Swap: swapOf(c.used),
			}
			one.IO = m.pressed(c.group, one.CPU, one.Memory)
			out.Containers = append(out.Containers, one)
		}
		sum.Pods = append(sum.Pods, out)
	}
	return sum
}

// nodeOf returns what the root of all groups tells of the node. Available is
// what is not in use of the memory of the machine. Huge pages are in use by
// whoever may use them, which the working set does not show (HugepageAwareEviction).
func (m *Meter) nodeOf(u cgroup.Usage) statsapi.NodeStats {
	n := statsapi.NodeStats{
		NodeName: m.o.Node, StartTime: metav1.NewTime(m.o.Started),
		CPU:    &statsapi.CPUStats{Time: metav1.NewTime(u.Time), UsageCoreNanoSeconds: new(uint64(u.CPU))},
		Memory: memoryOf(&u), Swap: swapOf(&u),
	}
	n.Memory.AvailableBytes = nil
	if total := uint64(max(m.o.Memory, 0)); total > 0 {
		n.Memory.AvailableBytes = new(total - min(total, u.Memory.WorkingSet+uint64(m.o.HugePages)))
	}
	return n
}

// cpuOf returns the CPU that a group used and uses. The caller holds m.mu.
func (m *Meter) cpuOf(group string, u *cgroup.Usage) *statsapi.CPUStats {
	if u == nil {
		return nil
	}
	s := &statsapi.CPUStats{Time: metav1.NewTime(u.Time), UsageCoreNanoSeconds: new(uint64(u.CPU))}
	if r, ok := m.rates[group]; ok && r.cores >= 0 {
		s.UsageNanoCores = new(uint64(r.cores * float64(time.Second)))
	}
	return s
}

func memoryOf(u *cgroup.Usage) *statsapi.MemoryStats {
	if u == nil {
		return nil
	}
	m := u.Memory
	s := &statsapi.MemoryStats{
		Time: metav1.NewTime(u.Time), UsageBytes: &m.Usage, WorkingSetBytes: &m.WorkingSet, RSSBytes: &m.RSS,
		PageFaults: &m.Faults, MajorPageFaults: &m.MajorFaults,
	}
	if m.Limit > 0 {
		s.AvailableBytes = new(m.Limit - min(m.Limit, m.WorkingSet))
	}
	return s
}

func swapOf(u *cgroup.Usage) *statsapi.SwapStats {
	if u == nil {
		return nil
	}
	s := &statsapi.SwapStats{Time: metav1.NewTime(u.Time), SwapUsageBytes: new(u.Memory.Swap)}
	if u.Memory.SwapLimit > 0 {
		s.SwapAvailableBytes = new(u.Memory.SwapLimit - min(u.Memory.SwapLimit, u.Memory.Swap))
	}
	return s
}
