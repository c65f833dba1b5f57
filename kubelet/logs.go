package kubelet

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/rotate"
)

// rotation says how large the logs of containers may get.
func (k *kubelet) rotation() rotate.Options {
	c := k.o.Config
	o := rotate.Options{Runtime: k.runtime, MaxFiles: int(ptr.Deref(c.ContainerLogMaxFiles, 5)), Workers: int(ptr.Deref(c.ContainerLogMaxWorkers, 1)), Interval: 10 * time.Second, Log: k.o.Logger}
	if size, err := resource.ParseQuantity(c.ContainerLogMaxSize); err == nil { // it was validated
		o.MaxSize = size.Value()
	}
	if every := c.ContainerLogMonitorInterval; every != nil {
		o.Interval = every.Duration
	}
	return o
}

// logsOutlive is how long the logs of a pod stay when nothing of it is left: to
// be read, and to tell how often its containers were started should the pod come
// back (SP-42, SP-43).
const logsOutlive = time.Minute

// An attic knows since when the logs of a pod have been of no use.
type attic map[string]time.Time

// sweep removes the logs of pods that are long gone. Keep holds the UIDs of all
// others.
func (a attic) sweep(ctx context.Context, k *kubelet, keep map[types.UID]bool, now time.Time) {
	entries, err := os.ReadDir(k.o.PodLogsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "list logs", slog.Any("err", err))
		return
	}
	there := map[string]bool{}
	for _, e := range entries {
		parts := strings.Split(e.Name(), "_") // namespace_name_uid
		if len(parts) != 3 || keep[types.UID(parts[2])] {
			continue
		}
		there[e.Name()] = true
		since, known := a[e.Name()]
		if !known {
			a[e.Name()] = now
			continue
		}
		if now.Sub(since) >= logsOutlive {
			k.removeLogs(ctx, e.Name())
		}
	}
	for name := range a {
		if !there[name] {
			delete(a, name)
		}
	}
}

// removeLogs removes the logs of a pod and the links to them.
func (k *kubelet) removeLogs(ctx context.Context, dir string) {
	path := filepath.Join(k.o.PodLogsDir, dir)
	if err := os.RemoveAll(path); err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "remove logs", slog.String("path", path), slog.Any("err", err))
	}
	links, _ := os.ReadDir(k.o.ContainerLogsDir) // where there are none, none is left
	for _, l := range links {
		link := filepath.Join(k.o.ContainerLogsDir, l.Name())
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, path+"/") {
			_ = os.Remove(link) // tried again with the next pod's
		}
	}
}
