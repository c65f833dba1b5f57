package e2e

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

// cpusDropIn has pods get CPUs for themselves, of all but the first.
const cpusDropIn = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cpuManagerPolicy: static
reservedSystemCPUs: "0"
`

// TestOwnCPUs has pods get CPUs for themselves, and all others the rest.
func TestOwnCPUs(t *testing.T) {
	n := runtime.NumCPU()
	if n < 2 {
		t.Skip("there is one CPU, and it is reserved")
	}
	all, own := fmt.Sprintf("0-%d", n-1), fmt.Sprintf("1-%d", n-1)
	if n == 2 {
		own = "1"
	}
	s := newStandalone(t)
	early := s.run(t, pinned("early", n-1))
	s.runsOn(t, early, all)
	s.kill(t)
	s.node.WriteFile(t, dropIns+"/20-cpus.conf", cpusDropIn)
	s.start(t)
	s.runsOn(t, early, own) // in the container that it has
	s.node.Remove(t, manifestPath("early"))
	shared := s.run(t, hostPod("shared", box("c", "sleep", "infinity")))
	s.runsOn(t, shared, all)

	alone := s.run(t, pinned("alone", n-1))
	s.runsOn(t, alone, own)
	s.runsOn(t, shared, "0")
	if is, err := s.cri.ContainerStatus(t.Context(), &cri.ContainerStatusRequest{ContainerId: containerID(t, alone, "c")}); err != nil {
		t.Error(err)
	} else if r := is.Status.Resources.GetLinux(); r.GetCpuQuota() != -1 || r.GetCpusetCpus() != own {
		t.Errorf("what has CPUs for itself may use %v", r)
	}
	s.put(t, pinned("more", n-1))
	s.until(t, "more", "refused", func(p *corev1.Pod) error {
		if p.Status.Reason != "OutOfcpu" || !strings.HasPrefix(p.Status.Message, "Pod was rejected: Node didn't have enough resource: cpu, ") {
			return errors.New("it is not")
		}
		return nil
	})

	const file = "/var/lib/kubelet/cpu_manager_state"
	before := s.node.ReadFile(t, file)
	s.kill(t)
	s.start(t)
	if now := s.ready(t, "alone"); containerID(t, now, "c") != containerID(t, alone, "c") {
		t.Error("it was started anew")
	}
	s.runsOn(t, alone, own)
	s.runsOn(t, shared, "0")
	if after := s.node.ReadFile(t, file); after != before {
		t.Errorf("%s\nwas %s", after, before)
	}

	s.node.Remove(t, manifestPath("alone")) // the other takes its place
	more := s.ready(t, "more")
	s.runsOn(t, more, own)
	s.node.Remove(t, manifestPath("more"))
	s.runsOn(t, shared, all)
}

// pinned is a pod that gets so many CPUs for itself.
func pinned(name string, cpus int) *corev1.Pod {
	c := box("c", "sleep", "infinity")
	c.Resources.Limits = corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewQuantity(int64(cpus), resource.DecimalSI), corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	c.Resources.Requests = c.Resources.Limits
	return hostPod(name, c)
}

// runsOn waits until the container of a pod may run on these CPUs and no others.
func (s *standalone) runsOn(t *testing.T, p *corev1.Pod, want string) {
	t.Helper()
	lab.Until(t, patience, "see "+p.Name+" on CPUs "+want, func(context.Context) error {
		for line := range strings.Lines(s.exec(t, p, "c", "cat", "/proc/self/status")) {
			if got, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok && strings.TrimSpace(got) == want {
				return nil
			} else if ok {
				return fmt.Errorf("it runs on %s", strings.TrimSpace(got))
			}
		}
		return errors.New("the kernel does not say")
	})
}
