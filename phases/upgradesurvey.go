package phases

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/config"
	"boot.internal/hint"
)

// A Survey is what a cluster tells of itself before an upgrade.
type Survey struct {
	// Documents are what it stores of its configuration.
	Documents config.SharedDocuments
	// Running are the components of all nodes by the tags of their images, sorted
	// by node; nil where only a node has looked.
	Running []Running
	// Kubelets are the versions of the node agents, by node; nil like Running.
	Kubelets map[string]string
	// NotReady are the control planes that are not Ready.
	NotReady []string
	// Rotating says that the authorities of the cluster are being rotated.
	Rotating bool
}

// Running is a component that a node runs.
type Running struct {
	Node, Component string
	Version         string // tag of its image
}

// APIServers are the versions of the API servers by node.
func (s Survey) APIServers() map[string]string {
	all := map[string]string{}
	for _, r := range s.Running {
		if r.Component == config.ComponentAPIServer {
			all[r.Node] = r.Version
		}
	}
	return all
}

// Ask asks a cluster what it is, trying for as long as timeout: as a node only for
// what it stores of its configuration, and as an administrator for its nodes, too.
func Ask(ctx context.Context, client kubernetes.Interface, admin bool, timeout time.Duration) (Survey, error) {
	var s Survey
	err := until(ctx, timeout, func(ctx context.Context) (bool, error) {
		var err error
		if s, err = askOnce(ctx, client, admin); err == nil {
			return true, nil
		}
		return hopeless(err), err
	})
	return s, err
}

// askOnce asks once: an API server that is about to end answers some questions and
// not others.
func askOnce(ctx context.Context, client kubernetes.Interface, admin bool) (s Survey, err error) {
	if admin {
		if s, err = look(ctx, client); err != nil {
			return s, err
		}
	}
	s.Documents, err = readDocuments(ctx, client)
	return s, err
}

func readDocuments(ctx context.Context, client kubernetes.Interface) (config.SharedDocuments, error) {
	var docs config.SharedDocuments
	for _, m := range []struct {
		name     string
		required bool
		keys     map[string]*string
	}{
		{"kubeadm-config", true, map[string]*string{"ClusterConfiguration": &docs.Cluster}},
		{"kubelet-config", true, map[string]*string{"kubelet": &docs.Kubelet}},
		{config.BootConfigMap, false, map[string]*string{config.BootConfigMapProxy: &docs.KubeProxy, config.BootConfigMapBoot: &docs.Boot}},
	} {
		stored, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, m.name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) && m.required:
			return docs, hint.With(fmt.Errorf("the cluster has no ConfigMap kube-system/%s", m.name),
				"'boot init phase upload-config' on a control plane puts it there")
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return docs, fmt.Errorf("read ConfigMap kube-system/%s: %w", m.name, err)
		}
		for key, into := range m.keys {
			*into = stored.Data[key]
		}
	}
	return docs, nil
}

// look looks at the nodes of a cluster and at what they run.
func look(ctx context.Context, client kubernetes.Interface) (Survey, error) {
	var s Survey
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("list the nodes: %w", err)
	}
	s.Kubelets = map[string]string{}
	for _, n := range nodes.Items {
		s.Kubelets[n.Name] = n.Status.NodeInfo.KubeletVersion
		if _, control := n.Labels[roleLabel]; control && !isReady(n.Status.Conditions) {
			s.NotReady = append(s.NotReady, n.Name)
		}
	}
	if s.Rotating, err = rotating(ctx, client); err != nil {
		return s, err
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("list the pods of kube-system: %w", err)
	}
	for _, p := range pods.Items {
		if r, ok := runs(&p); ok {
			s.Running = append(s.Running, r)
		}
	}
	slices.SortFunc(s.Running, func(a, b Running) int { return strings.Compare(a.Node+" "+a.Component, b.Node+" "+b.Component) })
	return s, nil
}

func rotating(ctx context.Context, client kubernetes.Interface) (bool, error) {
	_, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, config.RotationMap, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read ConfigMap kube-system/%s: %w", config.RotationMap, err)
	}
	return true, nil
}

func isReady(conditions []corev1.NodeCondition) bool {
	return slices.ContainsFunc(conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// runs tells which component a mirror pod is of.
func runs(p *corev1.Pod) (Running, bool) {
	component := strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName)
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; !mirror || component == p.Name || len(p.Spec.Containers) == 0 {
		return Running{}, false
	}
	return Running{p.Spec.NodeName, component, imageVersion(p.Spec.Containers[0].Image)}, true
}

// imageVersion is the tag of an image.
func imageVersion(image string) string {
	image, _, _ = strings.Cut(image, "@")
	return image[strings.LastIndex(image, ":")+1:]
}

// ManifestVersion is the tag of the image in the manifest of a component; empty if
// there is no such manifest.
func ManifestVersion(manifests, component string) (string, error) {
	pod, err := readPod(filepath.Join(manifests, component+".yaml"))
	if err != nil || pod == nil || len(pod.Spec.Containers) == 0 {
		return "", err
	}
	return imageVersion(pod.Spec.Containers[0].Image), nil
}

// LocalAPIServer is where the API server of this node is reached, as its manifest
// says; nil if there is none.
func LocalAPIServer(manifests string) (*config.APIEndpoint, error) {
	path := filepath.Join(manifests, config.ComponentAPIServer+".yaml")
	pod, err := readPod(path)
	if err != nil || pod == nil {
		return nil, err
	}
	port := int64(config.DefaultBindPort)
	if text := flagOf(pod, "secure-port"); text != "" {
		if port, err = strconv.ParseInt(text, 10, 32); err != nil {
			return nil, fmt.Errorf("read %s: secure-port: %w", path, err)
		}
	}
	address := flagOf(pod, "advertise-address")
	if address == "" {
		return nil, hint.With(fmt.Errorf("%s does not say what address it advertises", path), "add --advertise-address to it")
	}
	return &config.APIEndpoint{AdvertiseAddress: address, BindPort: int32(port)}, nil
}
