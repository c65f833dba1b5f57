package kubelet

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"boot.internal/kubelet/cgroup"
	"boot.internal/kubelet/memory"
	"boot.internal/kubelet/spec"
)

// limitedSwap is the swapBehavior that lets burstable pods use swap.
const limitedSwap = "LimitedSwap"

// lookAtHost notes what of the host concerns every container. What cannot be
// found out is not asked of the engine.
func (k *kubelet) lookAtHost(ctx context.Context) {
	kernel, err := cgroup.KernelAt("")
	if err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "look at cgroups", slog.Any("err", err))
	}
	c := k.o.Config
	k.facts.Unified = kernel.Unified
	k.facts.OOMGroup = c.SingleProcessOOMKill == nil || !*c.SingleProcessOOMKill
	k.facts.Keep = memory.Of(c)
	k.facts.Swap = spec.Swap{Counted: kernel.Swap, Limited: c.MemorySwap.SwapBehavior == limitedSwap, Total: totalSwap()}
	k.facts.HugePageSizes = hugePageSizes("/sys/kernel/mm/hugepages")
	k.facts.MaskedPaths = throttles("/sys/devices/system/cpu")
}

func totalSwap() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalswap) * int64(info.Unit) //nolint:gosec,unconvert,nolintlint // other machines have other types
}

// hugePageSizes returns the sizes the kernel has pages of, as its hugetlb
// controller spells them: 2MB.
func hugePageSizes(dir string) []string {
	entries, _ := os.ReadDir(dir) // a kernel without huge pages
	var sizes []string
	for _, e := range entries {
		digits := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB")
		size, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			continue
		}
		unit := "KB"
		for _, next := range []string{"MB", "GB"} {
			if size >= 1024 {
				size, unit = size/1024, next
			}
		}
		sizes = append(sizes, strconv.FormatInt(size, 10)+unit)
	}
	return sizes
}

// throttles returns the files that tell how hot a CPU gets, which tell one
// container what others do.
func throttles(dir string) []string {
	paths, _ := filepath.Glob(filepath.Join(dir, "cpu[0-9]*", "thermal_throttle")) // the pattern is good
	return paths
}
