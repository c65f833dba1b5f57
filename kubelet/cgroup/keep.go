package cgroup

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/memory"
)

// kept is how much memory the kernel keeps for the pods of a class, in bytes.
type kept struct{ guaranteed, burstable int64 }

// keep has the groups above pods keep what those keep: the kernel heeds no more of
// that. Without it pods run, too.
func (c *Cgroups) keep() {
	if !c.Keep.Tiered {
		return // nor did it change
	}
	now := kept{
		guaranteed: c.keptBelow(v1.PodQOSGuaranteed, memory.Min),
		burstable:  c.keptBelow(v1.PodQOSBurstable, memory.Low),
	}
	if now == c.kept {
		return
	}
	all, burstable := c.Keep.All(now.guaranteed, now.burstable)
	err := c.make(c.allPods(), limits{keep: all})
	if err == nil {
		err = c.make(c.classOf(v1.PodQOSBurstable), limits{keep: burstable})
	}
	if err != nil {
		c.Logger.Warn("memory that is kept for pods is out of date", slog.Any("err", err))
		return
	}
	c.kept = now
	if c.Kept != nil {
		c.Kept(now.guaranteed, now.burstable)
	}
}

// keptBelow adds up what a file of the groups of pods of a class says.
func (c *Cgroups) keptBelow(class v1.PodQOSClass, file string) int64 {
	total, parent := int64(0), c.path(c.classOf(class))
	for _, h := range c.trees {
		if !h.unified || !h.has["memory"] {
			continue
		}
		entries, _ := os.ReadDir(h.join(parent)) // nothing there, nothing to add
		for _, e := range entries {
			if e.IsDir() && c.isPod(class, e.Name()) {
				total += keptAt(filepath.Join(h.join(parent), e.Name(), file))
			}
		}
	}
	return total
}

func keptAt(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0 // it is on its way out
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
