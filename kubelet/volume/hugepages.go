package volume

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/pod"
)

// pageSize returns the size of the pages, in bytes, that a volume of huge pages
// is made of: that of the medium, or the one size that containers ask for. They
// must ask for pages of that size, or could not use them.
func pageSize(p *v1.Pod, medium v1.StorageMedium) (int64, error) {
	var want int64
	if suffix, ok := strings.CutPrefix(string(medium), string(v1.StorageMediumHugePagesPrefix)); ok {
		q, err := resource.ParseQuantity(suffix)
		if err != nil {
			return 0, fmt.Errorf("medium %s: %w", medium, err)
		}
		want = q.Value()
	}
	var found int64
	for _, size := range requestedPages(p) {
		switch {
		case want != 0 && size != want:
		case found != 0 && found != size:
			return 0, fmt.Errorf("medium: %s can't be used if container requests multiple huge page sizes", medium)
		default:
			found = size
		}
	}
	if found == 0 {
		return 0, fmt.Errorf("medium %s: hugePages storage requested, but there is no resource request for huge pages", medium)
	}
	return found, nil
}

// requestedPages returns the sizes, in bytes, of the huge pages that p asks for.
func requestedPages(p *v1.Pod) []int64 {
	var lists []v1.ResourceList
	if r := p.Spec.Resources; r != nil {
		lists = append(lists, r.Requests, r.Limits)
	}
	for _, c := range pod.Containers(p) {
		lists = append(lists, c.Resources.Requests, c.Resources.Limits)
	}
	var sizes []int64
	for _, list := range lists {
		for name := range list {
			suffix, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
			if q, err := resource.ParseQuantity(suffix); ok && err == nil {
				sizes = append(sizes, q.Value())
			}
		}
	}
	return sizes
}

// mountHugePages mounts huge pages at dir unless that was done.
func mountHugePages(dir string, group *int64, size int64) error {
	there, err := mountedAt(dir)
	if err != nil || there {
		return err
	}
	options := fmt.Sprintf("pagesize=%d,mode=0777", size)
	if group != nil {
		options = fmt.Sprintf("pagesize=%d,mode=2777,gid=%d", size, *group)
	}
	if err := unix.Mount("nodev", dir, "hugetlbfs", 0, options); err != nil {
		return fmt.Errorf("mount hugetlbfs at %s: %w", dir, err)
	}
	return nil
}
