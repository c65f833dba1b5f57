package kubelet

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/podsapi"
)

// runPodsAPI tells programs of the node of its pods until ctx ends. Without them
// all pods run.
func (k *kubelet) runPodsAPI(ctx context.Context) {
	if on, said := k.o.Config.FeatureGates["PodsAPI"]; said && !on {
		return
	}
	if err := k.podsAPI.Run(ctx, filepath.Join(k.o.RootDir, "pods-api", "pods-api.sock")); err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelError, "no program of the node can ask for pods", slog.Any("err", err))
	}
}

// knownPods returns the pods that are desired, as last heard of, and those that
// are not any more but still end; and whether all sources have had their say.
func (k *kubelet) knownPods() (pods []podsapi.Pod, known bool) {
	k.mu.Lock()
	heard, ending, known := k.heard, slices.Concat(k.now, k.going), k.said
	k.mu.Unlock()
	seen := make(map[types.UID]bool, len(ending))
	for _, p := range heard {
		seen[p.UID] = true
		pods = append(pods, podsapi.Pod{Pod: p, Is: k.writer.Show(p.UID)})
	}
	for _, p := range ending {
		if is := k.writer.Show(p.UID); is != nil && !seen[p.UID] { // else it is gone
			seen[p.UID] = true
			pods = append(pods, podsapi.Pod{Pod: p, Is: is})
		}
	}
	return pods, known
}

// podChanged says to all who show pods that there is something new to tell.
func (k *kubelet) podChanged() {
	k.desk.changed()
	k.podsAPI.Changed()
}
