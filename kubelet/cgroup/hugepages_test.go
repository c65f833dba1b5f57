package cgroup

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestHugePages limits a pod on both versions to what it asks for.
func TestHugePages(t *testing.T) {
	p := newPod("h", v1.PodQOSGuaranteed, "1", "1Gi")
	list := p.Spec.Containers[0].Resources.Requests
	list["hugepages-2Mi"], list["hugepages-64Ki"] = resource.MustParse("8Mi"), resource.MustParse("128Ki")
	for _, c := range []struct {
		unified bool
		suffix  string
	}{{true, ".max"}, {false, ".limit_in_bytes"}} {
		h := hierarchy{dir: t.TempDir(), unified: c.unified, has: map[string]bool{"hugetlb": true}}
		group := filepath.Join(h.dir, "kubepods", "podh")
		if err := os.MkdirAll(group, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, size := range []string{"2MB", "1GB", "64KB"} {
			if err := os.WriteFile(filepath.Join(group, "hugetlb."+size+c.suffix), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o := newOptions(CgroupFS, "", new(bytes.Buffer))
		o.HugePageSizes = []string{"2MB", "1GB", "64KB", "16GB"} // the last is unknown to the controller
		groups, err := newOn(o, []hierarchy{h})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := groups.Create(p); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"hugetlb.2MB" + c.suffix: "8388608", "hugetlb.1GB" + c.suffix: "0", "hugetlb.64KB" + c.suffix: "131072"}
		if diff := cmp.Diff(want, values(t, group)); diff != "" {
			t.Error(diff)
		}
	}
}
