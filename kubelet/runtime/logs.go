package runtime

import (
	"context"
	"fmt"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// RunningLogs returns the paths of the logs of all containers that run, by the
// container's ID.
func (r *Runtime) RunningLogs(ctx context.Context) (map[string]string, error) {
	running, err := r.running(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(running))
	for _, c := range running {
		key, ok := keyOf(c.Labels)
		if !ok {
			continue
		}
		p := &v1.Pod{}
		p.Namespace, p.Name, p.UID = key.Namespace, key.Name, types.UID(c.Labels[pod.LabelPodUID])
		log := spec.LogPath(c.Metadata.GetName(), c.Metadata.GetAttempt())
		all[c.Id] = filepath.Join(spec.LogDir(r.o.PodLogsDir, p), log)
	}
	return all, nil
}

// ReopenLog has the runtime write the log of a container to a new file, after
// the one it writes to was renamed.
func (r *Runtime) ReopenLog(ctx context.Context, id string) error {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	if _, err := r.o.CRI.ReopenContainerLog(ctx, &cri.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		return fmt.Errorf("reopen log of container %s: %w", id, err)
	}
	return nil
}
