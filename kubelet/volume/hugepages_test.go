package volume

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/nstest"
)

func TestPageSize(t *testing.T) {
	for name, tc := range map[string]struct {
		medium   v1.StorageMedium
		requests []v1.ResourceName
		want     int64
		err      string
	}{
		"the one size":        {"HugePages", []v1.ResourceName{"hugepages-2Mi", "memory"}, 2 << 20, ""},
		"the size it says":    {"HugePages-1Gi", []v1.ResourceName{"hugepages-2Mi", "hugepages-1Gi"}, 1 << 30, ""},
		"which of them":       {"HugePages", []v1.ResourceName{"hugepages-2Mi", "hugepages-1Gi"}, 0, "medium: HugePages can't be used if container requests multiple huge page sizes"},
		"nobody asks":         {"HugePages", []v1.ResourceName{"memory"}, 0, "there is no resource request for huge pages"},
		"for others they ask": {"HugePages-1Gi", []v1.ResourceName{"hugepages-2Mi"}, 0, "there is no resource request for huge pages"},
		"no size":             {"HugePages-x", nil, 0, "medium HugePages-x"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod()
			p.Spec.Containers[0].Resources.Requests = v1.ResourceList{}
			for _, r := range tc.requests {
				p.Spec.Containers[0].Resources.Requests[r] = resource.MustParse("4Mi")
			}
			got, err := pageSize(p, tc.medium)
			if got != tc.want || tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

func TestHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/hugepages/hugepages-2048kB"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no huge pages of 2 MiB")
	}
	nstest.Unshare(t, unix.CLONE_NEWNS)
	p := newPod(emptyDir(v1.EmptyDirVolumeSource{Medium: "HugePages-2Mi"}))
	p.Spec.Containers[0].Resources.Requests = v1.ResourceList{"hugepages-2Mi": resource.MustParse("4Mi")}
	v := newVolumes(t)
	all, err := v.Setup(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	setup(t, v, p) // nothing is mounted above it
	if there, err := mountedAt(all["v"].Path); err != nil || !there {
		t.Errorf("mounted: %v, %v", there, err)
	}
	if err := v.Teardown(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
}
