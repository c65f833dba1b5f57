package spec

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// ContainerInput is what a container needs beside pod and node.
type ContainerInput struct {
	Attempt uint32
	Backoff time.Duration // see pod.Container.Backoff
	// Image is what the runtime has for the container's image. Its user counts
	// where the pod names none.
	Image *cri.Image
	// Volumes tells where each volume is on the node, by name.
	Volumes map[string]pod.Volume
	// SubPaths holds the path on the node of each of SubPaths, by its index.
	SubPaths map[int]string
	// RecursiveReadOnly says that the runtime can mount that way in this pod.
	RecursiveReadOnly bool
	PodIPs            []string
	// Services are the variables that name the services around the pod.
	Services []v1.EnvVar
	// ConfigMaps and Secrets are those that the environment names, by name. What
	// is not among them may be missing.
	ConfigMaps map[string]*v1.ConfigMap
	Secrets    map[string]*v1.Secret
	// EnvFiles holds the content of the files that the environment names, but for
	// those that do not exist.
	EnvFiles map[EnvFile][]byte
	// TargetID is the container whose processes an ephemeral container sees.
	TargetID string

	Users pod.IDRange // see SandboxInput

	TerminationLog string // file on the node that takes the termination message
	Hosts          string // file on the node to be /etc/hosts; "" leaves it to the runtime
}

// LogPath returns where the log of a container is, below LogDir.
func LogPath(container string, attempt uint32) string {
	return path.Join(container, strconv.FormatUint(uint64(attempt), 10)+".log")
}

// Container returns one instance of the container d of p.
func Container(p *v1.Pod, d pod.Declared, n Node, in ContainerInput) (*cri.ContainerConfig, error) {
	if err := checkUsers(p, in.Users); err != nil {
		return nil, err
	}
	if err := verifyNonRoot(p, d.Container, in.Image); err != nil {
		return nil, err
	}
	env, err := environment(p, d.Container, n, in)
	if err != nil {
		return nil, err
	}
	mounts, err := mounts(d.Container, env, in)
	if err != nil {
		return nil, err
	}
	devices, err := blockDevices(d.Container, in)
	if err != nil {
		return nil, err
	}
	security, err := containerSecurity(p, d.Container, n, in)
	if err != nil {
		return nil, err
	}
	lookup := lookupIn(env)
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: d.Name, Attempt: in.Attempt},
		Image: &cri.ImageSpec{
			Image:              in.Image.GetId(),
			UserSpecifiedImage: d.Image,
		},
		Command:     expandAll(d.Command, lookup),
		Args:        expandAll(d.Args, lookup),
		WorkingDir:  d.WorkingDir,
		Envs:        keyValues(env),
		Mounts:      mounts,
		Devices:     devices,
		Labels:      containerLabels(p, d),
		Annotations: annotations(p, d, in),
		LogPath:     LogPath(d.Name, in.Attempt),
		Stdin:       d.Stdin,
		StdinOnce:   d.StdinOnce,
		Tty:         d.TTY,
		StopSignal:  stopSignal(d.Container),
		Linux: &cri.LinuxContainerConfig{
			Resources:       containerResources(p, d, n),
			SecurityContext: security,
		},
	}, nil
}

func containerLabels(p *v1.Pod, d pod.Declared) map[string]string {
	all := podLabels(p)
	all[pod.LabelContainerName] = d.Name
	return all
}

// annotations returns what is to be known of the container later, when the
// manifest it was made from may be gone.
func annotations(p *v1.Pod, d pod.Declared, in ContainerInput) map[string]string {
	all := map[string]string{
		pod.AnnotationHash:                   pod.ContainerHash(p, d.Container),
		pod.AnnotationRestartCount:           strconv.FormatUint(uint64(in.Attempt), 10),
		pod.AnnotationTerminationMessagePath: d.TerminationMessagePath,
		pod.AnnotationTerminationPolicy:      string(d.TerminationMessagePolicy),
		pod.AnnotationGrace:                  strconv.FormatInt(int64(pod.Grace(p)/time.Second), 10),
		pod.AnnotationKind:                   string(d.Kind),
		pod.AnnotationIndex:                  strconv.Itoa(d.Index),
		pod.AnnotationBackoff:                in.Backoff.String(),
	}
	if d.Lifecycle != nil && d.Lifecycle.PreStop != nil {
		all[pod.AnnotationPreStop] = jsonOf(d.Lifecycle.PreStop)
	}
	if len(d.Ports) > 0 {
		all[pod.AnnotationPorts] = jsonOf(d.Ports)
	}
	return all
}

// jsonOf writes a value of the API, which always can be written.
func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}

func stopSignal(c *v1.Container) cri.Signal {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return cri.Signal_SIGNAL_RUNTIME_DEFAULT
	}
	name := strings.NewReplacer("+", "PLUS", "-", "MINUS").Replace(string(*c.Lifecycle.StopSignal)) // SIGRTMIN+1
	return cri.Signal(cri.Signal_value["SIGNAL_"+name])
}

func keyValues(env []v1.EnvVar) []*cri.KeyValue {
	all := make([]*cri.KeyValue, 0, len(env))
	for _, e := range env {
		all = append(all, &cri.KeyValue{Key: e.Name, Value: []byte(e.Value)})
	}
	return all
}

// podName names p in messages that upstream users know.
func podName(p *v1.Pod) string { return fmt.Sprintf("%s_%s(%s)", p.Name, p.Namespace, p.UID) }
