package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/resource"
)

// limitHugePages limits a pod to the huge pages it asks for, of the sizes it does
// not to none. The groups of classes have no limit. A resize never concerns huge
// pages, so it is done once.
func (c *Cgroups) limitHugePages(group name, p *v1.Pod) error {
	if len(c.HugePageSizes) == 0 {
		return nil
	}
	asked := resource.PodRequests(p, resource.PodResourcesOptions{})
	for _, h := range c.trees {
		if !h.has["hugetlb"] {
			continue
		}
		dir := h.join(c.path(group))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup of %s/%s: %w", p.Namespace, p.Name, err)
		}
		for _, size := range c.HugePageSizes {
			err := writeValue(filepath.Join(dir, hugeFile(h, size)), strconv.FormatInt(bytesOf(asked, size), 10))
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // a size the controller does not know has no limit
				return fmt.Errorf("limit huge pages of %s/%s: %w", p.Namespace, p.Name, err)
			}
		}
	}
	return nil
}

func hugeFile(h hierarchy, size string) string {
	if h.unified {
		return "hugetlb." + size + ".max"
	}
	return "hugetlb." + size + ".limit_in_bytes"
}

// bytesOf returns how much is asked for of pages of a size in the kernel's
// spelling, such as 2MB.
func bytesOf(asked v1.ResourceList, size string) int64 {
	want, err := apiresource.ParseQuantity(size[:len(size)-1] + "i") // 2MB is 2Mi
	if err != nil {
		return 0
	}
	total := int64(0)
	for name, q := range asked {
		text, ok := hugePages(name)
		if have, err := apiresource.ParseQuantity(text); ok && err == nil && have.Cmp(want) == 0 {
			total += q.Value()
		}
	}
	return total
}

func hugePages(name v1.ResourceName) (size string, ok bool) {
	return strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
}
