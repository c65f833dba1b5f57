package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// removeContainer removes an instance and what was made on the node for it.
func (r *Runtime) removeContainer(ctx context.Context, a pod.RemoveContainer) error {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	c, err := r.ContainerStatus(ctx, a.ID)
	if isNotFound(err) {
		return nil
	}
	if err == nil {
		_, err = r.o.CRI.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: a.ID})
	}
	if err == nil || isNotFound(err) {
		err = r.removeFiles(c.Labels, c.Metadata.GetAttempt(), a.ID)
	}
	if err != nil {
		return r.failed(ctx, nil, a.Name, reasonRemoveContainer, fmt.Errorf("remove container %q: %w", a.Name, err))
	}
	return nil
}

// removeFiles removes the files of a removed instance. The log of the newest
// instance stays: it tells the restart count should the pod come back (SP-43).
func (r *Runtime) removeFiles(labels map[string]string, attempt uint32, id string) error {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: labels[pod.LabelPodNamespace],
		Name:      labels[pod.LabelPodName],
		UID:       types.UID(labels[pod.LabelPodUID]),
	}}
	name := labels[pod.LabelContainerName]
	if p.UID == "" || name == "" {
		return nil // not made by a kubelet
	}
	err := removeFile(r.terminationLog(string(p.UID), name, attempt))
	if r.o.ContainerLogsDir != "" {
		err = errors.Join(err, removeFile(r.logLink(p.Namespace, p.Name, name, id)))
	}
	dir := spec.LogDir(r.o.PodLogsDir, p)
	if last, ok := lastLog(filepath.Join(dir, name)); ok && last > attempt {
		err = errors.Join(err, removeFile(filepath.Join(dir, spec.LogPath(name, attempt))))
	}
	return err
}
