package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"boot.internal/e2e/internal/lab"
)

// box returns a container that runs testbox.
func box(name string, args ...string) corev1.Container {
	return corev1.Container{Name: name, Image: testImage, Args: args}
}

// newPod returns a pod of some containers.
func newPod(name string, containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: containers, TerminationGracePeriodSeconds: ptr.To[int64](10)},
	}
}

// hostPod returns a pod on the node's network, which is up sooner.
func hostPod(name string, containers ...corev1.Container) *corev1.Pod {
	p := newPod(name, containers...)
	p.Spec.HostNetwork = true
	return p
}

// text returns the manifest of a pod.
func text(t testing.TB, p *corev1.Pod) string {
	t.Helper()
	data, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "status: {}\n", "")
}

// manifestPath returns the file of the manifest of a pod.
func manifestPath(name string) string { return filepath.Join(manifests, name+".yaml") }

// put writes the manifest of a pod to the file of its name, and removes it after
// the test.
func (s *standalone) put(t testing.TB, p *corev1.Pod) {
	t.Helper()
	s.putText(t, manifestPath(p.Name), text(t, p))
}

func (s *standalone) putText(t testing.TB, file, text string) {
	t.Helper()
	s.node.WriteFile(t, file, text)
	t.Cleanup(func() { s.node.Remove(t, file) })
}

// run puts a pod and waits until it is ready.
func (s *standalone) run(t testing.TB, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	s.put(t, p)
	return s.ready(t, p.Name)
}

var errNotRunning = errors.New("it does not run")

// podReady returns why a pod is not Ready.
func podReady(p *corev1.Pod) error {
	if p.Status.Phase != corev1.PodRunning {
		return fmt.Errorf("it is %s", p.Status.Phase)
	}
	if !condition(p, corev1.PodReady) {
		return errors.New("it is not ready")
	}
	return nil
}

// hasPhase returns a check that a pod is in a phase.
func hasPhase(phase corev1.PodPhase) func(p *corev1.Pod) error {
	return func(p *corev1.Pod) error {
		if p.Status.Phase != phase {
			return fmt.Errorf("it is %s, not %s", p.Status.Phase, phase)
		}
		return nil
	}
}

// restarted returns a check that a container runs and was restarted once.
func restarted(container string) func(p *corev1.Pod) error {
	return func(p *corev1.Pod) error {
		s := statusOf(p, container)
		if s.State.Running == nil || s.RestartCount != 1 {
			return fmt.Errorf("%s is not restarted once", container)
		}
		return nil
	}
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}

// statusOf returns the status of a container or an init container, an empty one
// as long as nothing is said of it.
func statusOf(p *corev1.Pod, container string) corev1.ContainerStatus {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if s.Name == container {
			return s
		}
	}
	return corev1.ContainerStatus{}
}

// containerID returns the ID of a container as its status has it.
func containerID(t testing.TB, p *corev1.Pod, container string) string {
	t.Helper()
	s := statusOf(p, container)
	if s.ContainerID == "" {
		t.Fatalf("pod %s has no container %s: %s", p.Name, container, brief(p))
	}
	_, id, _ := strings.Cut(s.ContainerID, "://")
	return id
}

// ids returns the IDs of all containers and how often they were restarted.
func ids(p *corev1.Pod) map[string]string {
	all := map[string]string{}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		all[s.Name] = fmt.Sprintf("%s, restarted %d times", s.ContainerID, s.RestartCount)
	}
	return all
}

// brief tells what matters of the status of a pod.
func brief(p *corev1.Pod) string {
	b := []string{fmt.Sprintf("%s %s %s %s", p.Name, p.UID, p.Status.Phase, p.Status.Message)}
	for _, c := range p.Status.Conditions {
		b = append(b, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Message))
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		b = append(b, fmt.Sprintf("%s: %+v, restarted %d times", s.Name, s.State, s.RestartCount))
	}
	return strings.Join(b, "\n  ")
}

// killContainer kills a container from outside.
func killContainer(t testing.TB, n *lab.Node, client cri.RuntimeServiceClient, id string) {
	t.Helper()
	signalContainer(t, n, client, id, syscall.SIGKILL)
}

// signalContainer sends a signal to the first process of a container from outside.
func signalContainer(t testing.TB, n *lab.Node, client cri.RuntimeServiceClient, id string, signal syscall.Signal) {
	t.Helper()
	n.Kill(t, await(t, "the first process of container "+id, func() (lab.Process, error) { // which has no arguments for the moment in which it is executed
		all, err := lab.Containers(t.Context(), client)
		if err != nil {
			return lab.Process{}, err
		}
		for _, c := range all {
			if c.ID == id {
				return only(slices.DeleteFunc(n.Processes(t), func(p lab.Process) bool { return p.PID != c.PID }))
			}
		}
		return lab.Process{}, errNotRunning
	}), signal)
}

// mount returns a volume of a pod and gives it to the containers, at /data.
func mount(p *corev1.Pod, source corev1.VolumeSource) *corev1.Pod {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: source})
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = append(list[i].VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: "/data"})
		}
	}
	return p
}

// hostDir returns a directory of the node as a source of a volume.
func hostDir(dir string) corev1.VolumeSource {
	return corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: ptr.To(corev1.HostPathDirectoryOrCreate)}}
}

// unhurried has a probe give a container as long as it takes to start.
func unhurried(p *corev1.Probe) *corev1.Probe {
	p.FailureThreshold = 600
	return p
}

// quick returns a probe that asks every second and believes the first answer, for
// which there is time.
func quick(h corev1.ProbeHandler) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: h, PeriodSeconds: 1, TimeoutSeconds: 20, FailureThreshold: 1}
}

func httpGet(port int) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt(port)}}
}

func execute(args ...string) corev1.ProbeHandler {
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: append([]string{"/testbox"}, args...)}}
}

// sidecar makes an init container a sidecar.
func sidecar(c corev1.Container) corev1.Container {
	c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
	return c
}

// lingers has a container take that long to end once it is asked to. A program that
// takes its time after a signal may get that before it is ready for it.
func lingers(c corev1.Container, duration string) corev1.Container {
	c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: execute("sleep", duration).Exec}}
	return c
}
