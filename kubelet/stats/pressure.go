package stats

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/cgroup"
)

// psi returns how long a group has waited for a resource, nil where the kernel does
// not say.
func (m *Meter) psi(group, resource string) *statsapi.PSIStats {
	p := m.o.Groups.Pressure(group, resource)
	if p == nil {
		return nil
	}
	return &statsapi.PSIStats{Full: psiData(p.Full), Some: psiData(p.Some)}
}

func psiData(s cgroup.Stall) statsapi.PSIData {
	return statsapi.PSIData{Total: uint64(s.Total), Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300}
}

// pressed adds to what is said of a group how long it has waited. It returns what
// there is to say of input and output, of which nothing else is said.
func (m *Meter) pressed(group string, cpu *statsapi.CPUStats, memory *statsapi.MemoryStats) *statsapi.IOStats {
	if cpu == nil || memory == nil {
		return nil
	}
	cpu.PSI, memory.PSI = m.psi(group, "cpu"), m.psi(group, "memory")
	if io := m.psi(group, "io"); io != nil {
		return &statsapi.IOStats{Time: metav1.NewTime(cpu.Time.Time), PSI: io}
	}
	return nil
}

// pressure sends for how long the tasks of a group have waited.
func (s *scrape) pressure(of subject) {
	for _, r := range []struct{ resource, name string }{{"cpu", "CPU"}, {"memory", "memory"}, {"io", "IO"}} {
		p := s.m.o.Groups.Pressure(of.id, r.resource)
		if p == nil {
			continue
		}
		prefix := "container_pressure_" + r.resource
		s.counter(prefix+"_waiting_seconds_total", "Total time duration tasks in the container have waited due to "+r.name+" congestion.", of, p.Some.Total.Seconds())
		s.counter(prefix+"_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to "+r.name+" congestion.", of, p.Full.Total.Seconds())
	}
}
