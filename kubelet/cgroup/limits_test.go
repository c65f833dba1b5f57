package cgroup

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestPaths(t *testing.T) {
	for _, tc := range []struct {
		driver Driver
		root   string
		class  v1.PodQOSClass
		want   string
	}{
		{CgroupFS, "", v1.PodQOSGuaranteed, "/kubepods/poda-b"},
		{CgroupFS, "/", v1.PodQOSBurstable, "/kubepods/burstable/poda-b"},
		{CgroupFS, "/my-root/x", v1.PodQOSBestEffort, "/my-root/x/kubepods/besteffort/poda-b"},
		{Systemd, "/", v1.PodQOSGuaranteed, "/kubepods.slice/kubepods-poda_b.slice"},
		{Systemd, "", v1.PodQOSBurstable, "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice"},
		{Systemd, "/my-root", v1.PodQOSBestEffort, "/my_root.slice/my_root-kubepods.slice/my_root-kubepods-besteffort.slice/my_root-kubepods-besteffort-poda_b.slice"},
	} {
		c := &Cgroups{Options: newOptions(tc.driver, tc.root, new(bytes.Buffer))}
		got := c.path(c.podName(tc.class, "a-b"))
		if got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.driver, tc.class, got, tc.want)
		}
		for _, class := range classes() {
			if is := c.isPod(class, got[strings.LastIndex(got, "/")+1:]); is != (class == tc.class || tc.driver == CgroupFS) {
				t.Errorf("%s is a %s pod: %v", got, class, is)
			}
			if c.isPod(v1.PodQOSGuaranteed, c.path(name{"kubepods", "burstable"})) {
				t.Error("a class is taken for a pod")
			}
		}
	}
}

func TestLimits(t *testing.T) {
	list := func(cpu, memory string) v1.ResourceList {
		l := v1.ResourceList{}
		for name, q := range map[v1.ResourceName]string{"cpu": cpu, "memory": memory} {
			if q != "" {
				l[name] = resource.MustParse(q)
			}
		}
		return l
	}
	need := func(cpu, memory, cpuLimit, memoryLimit string) v1.ResourceRequirements {
		return v1.ResourceRequirements{Requests: list(cpu, memory), Limits: list(cpuLimit, memoryLimit)}
	}
	const mi = 1 << 20
	for name, tc := range map[string]struct {
		containers []v1.ResourceRequirements
		sidecar    *v1.ResourceRequirements
		pod        *v1.ResourceRequirements
		class      v1.PodQOSClass
		noQuota    bool
		ownCPUs    bool
		want       limits
	}{
		"best effort": {containers: []v1.ResourceRequirements{{}}, class: v1.PodQOSBestEffort, want: limits{shares: 2, pids: 100}},
		"sum of containers": {
			containers: []v1.ResourceRequirements{need("250m", "10Mi", "500m", "20Mi"), need("250m", "10Mi", "1", "30Mi")},
			class:      v1.PodQOSBurstable,
			want:       limits{shares: 512, quota: 150 * time.Millisecond, memory: 50 * mi, pids: 100},
		},
		"one without limits": {
			containers: []v1.ResourceRequirements{need("250m", "10Mi", "500m", "20Mi"), need("250m", "", "1", "")},
			class:      v1.PodQOSBurstable,
			want:       limits{shares: 512, quota: 150 * time.Millisecond, pids: 100},
		},
		"sidecars count (IC-47)": {
			containers: []v1.ResourceRequirements{need("250m", "10Mi", "250m", "10Mi")},
			sidecar:    new(need("250m", "5Mi", "250m", "5Mi")),
			class:      v1.PodQOSGuaranteed,
			want:       limits{shares: 512, quota: 50 * time.Millisecond, memory: 15 * mi, pids: 100},
		},
		"pod-level limits (IC-47)": {
			containers: []v1.ResourceRequirements{{}},
			pod:        new(need("1", "64Mi", "2", "64Mi")),
			class:      v1.PodQOSBurstable,
			want:       limits{shares: 1024, quota: 200 * time.Millisecond, memory: 64 * mi, pids: 100},
		},
		"tiny": {
			containers: []v1.ResourceRequirements{need("1m", "1Mi", "1m", "1Mi")},
			class:      v1.PodQOSGuaranteed,
			want:       limits{shares: 2, quota: time.Millisecond, memory: mi, pids: 100},
		},
		"huge": {
			containers: []v1.ResourceRequirements{need("1000", "1Mi", "", "")},
			class:      v1.PodQOSBurstable,
			want:       limits{shares: 262144, pids: 100},
		},
		"no quota": {
			containers: []v1.ResourceRequirements{need("1", "1Mi", "1", "1Mi")},
			class:      v1.PodQOSGuaranteed,
			noQuota:    true,
			want:       limits{shares: 1024, memory: mi, pids: 100},
		},
		"CPUs for itself": {
			containers: []v1.ResourceRequirements{need("1", "1Mi", "1", "1Mi")},
			class:      v1.PodQOSGuaranteed,
			ownCPUs:    true,
			want:       limits{shares: 1024, memory: mi, pids: 100},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOptions(CgroupFS, "/", new(bytes.Buffer))
			o.NoQuota, o.Unhurried = tc.noQuota, func(*v1.Pod) bool { return tc.ownCPUs }
			c, err := newOn(o, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := &v1.Pod{Spec: v1.PodSpec{Resources: tc.pod}}
			for _, r := range tc.containers {
				p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: r})
			}
			if tc.sidecar != nil {
				p.Spec.InitContainers = []v1.Container{{Resources: *tc.sidecar, RestartPolicy: new(v1.ContainerRestartPolicyAlways)}}
			}
			got := c.limitsOf(p, tc.class)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(limits{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	l := limits{shares: 512, quota: 50 * time.Millisecond, memory: 1 << 20, pids: 10}
	for name, tc := range map[string]struct {
		limits  limits
		unified bool
		want    []string
	}{
		"v1":   {l, false, []string{"cpu.shares=512", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000", "memory.limit_in_bytes=1048576", "pids.max=10"}},
		"v2":   {l, true, []string{"cpu.weight=59", "cpu.max=50000 100000", "memory.max=1048576", "pids.max=10"}},
		"none": {limits{}, true, nil},
	} {
		var got []string
		for _, s := range tc.limits.settings(tc.unified, 100*time.Millisecond) {
			got = append(got, fmt.Sprintf("%s=%s", s.file, s.value))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWeights(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 1024: 100, 2048: 174, 262144: 10000, 1 << 20: 10000} {
		if got := weightOf(shares); got != want {
			t.Errorf("weight of %d shares is %d, want %d", shares, got, want)
		}
	}
	for shares := uint64(100); shares < maxShares; shares += 99 {
		back := sharesOfWeight(weightOf(shares))
		if off := math.Abs(float64(back)-float64(shares)) / float64(shares); off > 0.07 {
			t.Fatalf("%d shares come back as %d", shares, back)
		}
	}
}

func TestHierarchies(t *testing.T) {
	unified := t.TempDir()
	dir, _ := newUnified(t, "cpu memory")
	for name, tc := range map[string]struct {
		mounts, below string
		want          []hierarchy
	}{
		"version 1": {
			"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
				"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n" +
				"33 31 0:30 / /sys/fs/cgroup/memory ro,relatime - cgroup cgroup ro,memory\n" +
				"34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n" +
				"35 31 0:30 / /mnt/memory rw - cgroup cgroup rw,memory\n" +
				"36 31 0:30 / /sys/fs/cgroup/again rw - cgroup cgroup rw,memory\n",
			"/sys/fs/cgroup",
			[]hierarchy{
				{dir: "/sys/fs/cgroup/cpu,cpuacct", has: map[string]bool{"cpu": true, "cpuacct": true}},
				{dir: "/sys/fs/cgroup/memory", has: map[string]bool{"memory": true}},
				{dir: "/sys/fs/cgroup/systemd", has: map[string]bool{"name=systemd": true}},
			},
		},
		"version 2": {
			"31 23 0:28 / UNIFIED rw - cgroup2 cgroup2 rw,nsdelegate\n", unified,
			[]hierarchy{{dir: unified, unified: true, has: map[string]bool{"cpu": true, "memory": true, "pids": true}}},
		},
		"hybrid": {
			"31 23 0:28 / UNIFIED/cpu rw - cgroup cgroup rw,cpu\n32 23 0:29 / UNIFIED rw - cgroup2 cgroup2 rw\n", unified,
			[]hierarchy{
				{dir: unified + "/cpu", has: map[string]bool{"cpu": true}},
				{dir: unified, unified: true, has: map[string]bool{"memory": true, "pids": true}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			writeController(t, unified, "cpu memory pids\n")
			mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(strings.ReplaceAll(tc.mounts, "UNIFIED", unified)),
				mountinfo.FSTypeFilter("cgroup", "cgroup2"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := hierarchiesOf(mounts, tc.below)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := hierarchiesOf(nil, dir); err == nil {
		t.Error("took a directory for a hierarchy")
	}
}
