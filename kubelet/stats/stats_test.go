package stats

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/cgroup"
	"boot.internal/kubelet/pod"
)

// A node runs pods on paper.
type node struct {
	sandboxes  []*cri.PodSandbox
	containers []*cri.Container
	layers     []*cri.ContainerStats
	used       map[string]cgroup.Usage
	looks      int // how often it was listed
	images     string
	err        error
}

func (n *node) ListPodSandbox(context.Context, *cri.ListPodSandboxRequest, ...grpc.CallOption) (*cri.ListPodSandboxResponse, error) {
	n.looks++
	return &cri.ListPodSandboxResponse{Items: n.sandboxes}, n.err
}

func (n *node) ListContainers(context.Context, *cri.ListContainersRequest, ...grpc.CallOption) (*cri.ListContainersResponse, error) {
	return &cri.ListContainersResponse{Containers: n.containers}, n.err
}

func (n *node) ListContainerStats(context.Context, *cri.ListContainerStatsRequest, ...grpc.CallOption) (*cri.ListContainerStatsResponse, error) {
	return &cri.ListContainerStatsResponse{Stats: n.layers}, n.err
}

func (n *node) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest, ...grpc.CallOption) (*cri.ImageFsInfoResponse, error) {
	return &cri.ImageFsInfoResponse{ImageFilesystems: []*cri.FilesystemUsage{{
		FsId: &cri.FilesystemIdentifier{Mountpoint: n.images}, UsedBytes: &cri.UInt64Value{Value: 7}, InodesUsed: &cri.UInt64Value{Value: 3},
	}}}, n.err
}

func (n *node) Usage(group string) (cgroup.Usage, error) {
	u, ok := n.used[group]
	if !ok {
		return u, fs.ErrNotExist
	}
	u.Time = time.Now()
	return u, nil
}

func (n *node) PodGroup(uid types.UID) (string, bool) {
	_, ok := n.used["/kubepods/pod"+string(uid)]
	return "/kubepods/pod" + string(uid), ok
}

func (n *node) Below(group string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for g := range maps.Keys(n.used) {
			if filepath.Dir(g) == group && !yield(g) {
				return
			}
		}
	})
}

func (n *node) Processes(string) []int { return []int{os.Getpid()} }
func (n *node) Detail(string) cgroup.Detail {
	return cgroup.Detail{
		Tasks: 2, Quota: time.Millisecond, Periods: 4, MemoryHighs: 7, MemoryMaxes: 8, MemoryLow: 9,
		Disks: []cgroup.Disk{{Major: 999, Minor: 1, Read: 10, Written: 20}},
	}
}

func (n *node) Pressure(group, resource string) *cgroup.Pressure {
	if group != "/kubepods/podu/cri-one.scope" || resource == "memory" {
		return nil
	}
	return &cgroup.Pressure{Some: cgroup.Stall{Total: 2 * time.Second, Avg10: 1.5}, Full: cgroup.Stall{Total: time.Second}}
}

func labelled(container string) map[string]string {
	return map[string]string{
		pod.LabelPodNamespace: "ns", pod.LabelPodName: "p", pod.LabelPodUID: "u", pod.LabelContainerName: container,
	}
}

// onePod is a node with a pod of one container, which has written to its layer,
// its log and a volume.
func onePod(t *testing.T) (*node, *Meter) {
	t.Helper()
	root, logs := t.TempDir(), t.TempDir()
	for name, size := range map[string]int{
		filepath.Join(logs, "ns_p_u", "c", "0.log"):             4000,
		filepath.Join(root, "pods", "u", "volumes", "e", "one"): 8000,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	memory := cgroup.Memory{Usage: 100, WorkingSet: 80, RSS: 60, Limit: 200, Faults: 5}
	n := &node{
		images:    root,
		sandboxes: []*cri.PodSandbox{{Id: "box", CreatedAt: 1e18, Labels: labelled("")}, {Id: "older", CreatedAt: 9e17, Labels: labelled("")}, {Id: "nobody's"}},
		containers: []*cri.Container{{
			Id: "one", PodSandboxId: "box", CreatedAt: 2e18, Labels: labelled("c"), Image: &cri.ImageSpec{UserSpecifiedImage: "image:1"},
		}},
		layers: []*cri.ContainerStats{{
			Attributes:    &cri.ContainerAttributes{Id: "one"},
			WritableLayer: &cri.FilesystemUsage{UsedBytes: &cri.UInt64Value{Value: 1 << 20}, InodesUsed: &cri.UInt64Value{Value: 10}},
		}},
		used: map[string]cgroup.Usage{
			"/": {CPU: time.Minute, Memory: cgroup.Memory{WorkingSet: 400}}, "/kubepods": {CPU: time.Second},
			"/kubepods/podu": {CPU: time.Second, Memory: memory}, "/kubepods/podu/cri-one.scope": {CPU: time.Second, Memory: memory},
		},
	}
	volumes := []Volume{{Name: "e", Path: filepath.Join(root, "pods", "u", "volumes", "e"), Local: true}}
	return n, New(Options{
		Node: "n1", Runtime: n, Images: n, Groups: n, Root: "/", AllPods: "/kubepods", Memory: 1000, HugePages: 100, RootDir: root, PodLogsDir: logs,
		Pods: func() []*v1.Pod {
			return []*v1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}}}
		},
		Volumes: func(*v1.Pod) []Volume { return volumes },
		Log:     slog.New(slog.DiscardHandler),
	})
}

func TestSummary(t *testing.T) {
	_, m := onePod(t)
	s, err := m.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 1 || len(s.Pods[0].Containers) != 1 {
		t.Fatalf("%+v", s.Pods)
	}
	p := s.Pods[0]
	c := p.Containers[0]
	check := func(what string, got *uint64, want uint64) {
		t.Helper()
		if got == nil || *got != want {
			t.Errorf("%s is %v, want %d", what, got, want)
		}
	}
	check("working set", c.Memory.WorkingSetBytes, 80)
	check("what is left of the limit", c.Memory.AvailableBytes, 120)
	check("CPU time", c.CPU.UsageCoreNanoSeconds, 1e9)
	check("share of CPU", c.CPU.UsageNanoCores, 0)
	check("layer", c.Rootfs.UsedBytes, 1<<20)
	check("working set of the pod", p.Memory.WorkingSetBytes, 80)
	check("processes", p.ProcessStats.ProcessCount, 1)
	check("what is left of the machine", s.Node.Memory.AvailableBytes, 500)
	check("images", s.Node.Runtime.ImageFs.UsedBytes, 7)
	if got := *c.Logs.UsedBytes; got < 4000 || got > 20000 {
		t.Errorf("logs take %d bytes", got)
	}
	if got, least := *p.EphemeralStorage.UsedBytes, uint64(1<<20+4000+8000); got < least || got > least+40000 {
		t.Errorf("ephemeral storage is %d, want a bit more than %d", got, least)
	}
	waited := &statsapi.PSIStats{Some: statsapi.PSIData{Total: 2e9, Avg10: 1.5}, Full: statsapi.PSIData{Total: 1e9}}
	if diff := cmp.Diff([]*statsapi.PSIStats{waited, nil, waited}, []*statsapi.PSIStats{c.CPU.PSI, c.Memory.PSI, c.IO.PSI}); diff != "" {
		t.Errorf("pressure (-want +got):\n%s", diff)
	}
	if p.IO != nil || p.CPU.PSI != nil {
		t.Errorf("pressure of a group of which nothing is known: %v %v", p.IO, p.CPU.PSI)
	}
	if got := p.StartTime.UnixNano(); got != 1e18 {
		t.Errorf("started %d", got)
	}
	var names []string
	for _, one := range s.Node.SystemContainers {
		names = append(names, one.Name)
	}
	if diff := cmp.Diff([]string{"kubelet", "pods"}, names); diff != "" { // nobody listens as a runtime
		t.Errorf("system containers (-want +got):\n%s", diff)
	}
}

func TestWhoAsksAtOnceGetsOneSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, m := onePod(t)
		for range 3 {
			if _, err := m.CPUAndMemory(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n.looks != 1 {
			t.Errorf("looked %d times", n.looks)
		}
		time.Sleep(fresh)
		s, err := m.CPUAndMemory(t.Context())
		if err != nil || n.looks != 2 {
			t.Errorf("looked %d times, %v", n.looks, err)
		}
		if s.Node.Fs != nil || s.Pods[0].EphemeralStorage != nil {
			t.Error("disks were measured")
		}
	})
}

// What began to run after the sample that others were given has a share of CPU,
// too: the second sample sees it for the first time, and the third knows it.
func TestShareOfCPUOfWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, m := onePod(t)
		containers := n.containers
		n.containers = nil
		if _, err := m.CPUAndMemory(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.containers = containers
		s, err := m.Summary(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c := s.Pods[0].Containers; len(c) != 1 || c[0].CPU.UsageNanoCores == nil {
			t.Errorf("containers %+v", c)
		}
	})
}

func TestShareOfCPU(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		before rate
		after  time.Duration // later
		used   time.Duration // in all
		want   float64
	}{
		"the first":              {rate{}, time.Second, time.Second, -1},
		"half a core":            {rate{at, time.Second, -1}, 2 * time.Second, 2 * time.Second, 0.5},
		"too soon to say":        {rate{at, time.Second, 0.25}, shortest / 2, 2 * time.Second, 0.25},
		"too late to say":        {rate{at, time.Second, 0.25}, longest + 1, 2 * time.Second, -1},
		"a group of that name":   {rate{at, time.Second, 0.25}, time.Second, 0, -1},
		"what did nothing since": {rate{at, time.Second, 0.25}, time.Second, time.Second, 0},
	} {
		got := c.before.after(cgroup.Usage{Time: at.Add(c.after), CPU: c.used})
		if got.cores != c.want {
			t.Errorf("%s: %v cores, want %v", name, got.cores, c.want)
		}
	}
}

func TestRuntimeThatIsAway(t *testing.T) {
	n, m := onePod(t)
	n.err = errors.New("away")
	if _, err := m.Summary(t.Context()); !errors.Is(err, n.err) {
		t.Errorf("summary: %v", err)
	}
	got := gathered(t, Resource(func() (*Meter, error) { return m, nil }))
	if diff := cmp.Diff([]string{"resource_scrape_error 1"}, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestMetricsHaveTheLabelsOfDashboards(t *testing.T) {
	_, m := onePod(t)
	from := func() (*Meter, error) { return m, nil }
	for _, c := range []struct {
		of   prometheus.Collector
		want []string
	}{
		{Resource(from), []string{
			`container_cpu_usage_seconds_total container=c namespace=ns pod=p 1`,
			`container_memory_working_set_bytes container=c namespace=ns pod=p 80`,
			`pod_memory_working_set_bytes namespace=ns pod=p 80`, `node_memory_working_set_bytes 400`, `resource_scrape_error 0`,
			`container_start_time_seconds container=c namespace=ns pod=p 2e+09`,
		}},
		{Containers(from), []string{
			`container_memory_working_set_bytes container=c id=/kubepods/podu/cri-one.scope image=image:1 name=one namespace=ns pod=p 80`,
			`container_memory_rss container= id=/kubepods/podu image= name= namespace=ns pod=p 60`,
			`container_cpu_usage_seconds_total container= cpu=total id=/ image= name= namespace= pod= 60`,
			`container_cpu_cfs_periods_total container=c id=/kubepods/podu/cri-one.scope image=image:1 name=one namespace=ns pod=p 4`,
			`container_pressure_cpu_waiting_seconds_total container=c id=/kubepods/podu/cri-one.scope image=image:1 name=one namespace=ns pod=p 2`,
			`container_pressure_io_stalled_seconds_total container=c id=/kubepods/podu/cri-one.scope image=image:1 name=one namespace=ns pod=p 1`,
			`container_memory_events_high_total container=c id=/kubepods/podu/cri-one.scope image=image:1 name=one namespace=ns pod=p 7`,
			`container_memory_events_max_total container=c id=/kubepods/podu/cri-one.scope image=image:1 name=one namespace=ns pod=p 8`,
			`container_spec_memory_reservation_limit_bytes container=c id=/kubepods/podu/cri-one.scope image=image:1 name=one namespace=ns pod=p 9`,
			`container_blkio_device_usage_total container=c device=999:1 id=/kubepods/podu/cri-one.scope image=image:1 major=999 minor=1 name=one namespace=ns operation=Write pod=p 20`,
			`container_scrape_error 0`, `machine_memory_bytes 1000`,
		}},
	} {
		got := gathered(t, c.of)
		for _, w := range c.want {
			if !slices.Contains(got, w) {
				t.Errorf("no %s in\n%s", w, strings.Join(got, "\n"))
			}
		}
	}
}

// gathered returns all figures: name, labels, value.
func gathered(t *testing.T, c prometheus.Collector) []string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		for _, m := range f.Metric {
			words := []string{f.GetName()}
			for _, l := range m.Label {
				words = append(words, l.GetName()+"="+l.GetValue())
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			all = append(all, strings.Join(append(words, strconv.FormatFloat(value, 'g', -1, 64)), " "))
		}
	}
	return all
}

func TestVolumes(t *testing.T) {
	_, m := onePod(t)
	asked := statsapi.FsStats{UsedBytes: new(uint64(42))}
	dir := t.TempDir()
	for name, v := range map[string]Volume{
		"asked":   {Name: "v", Claim: "claim", Ask: func(context.Context) (*statsapi.FsStats, error) { return &asked, nil }},
		"whole":   {Name: "v", Path: dir, Whole: true},
		"counted": {Name: "v", Path: dir},
	} {
		m.o.Volumes = func(*v1.Pod) []Volume { return []Volume{v} }
		all, local := m.volumes(t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}})
		if len(all) != 1 || all[0].UsedBytes == nil || local.bytes != 0 {
			t.Errorf("%s: %+v, local %d", name, all, local.bytes)
		}
	}
	m.o.Volumes = func(*v1.Pod) []Volume { return []Volume{{Name: "v", Path: dir + "/gone"}} }
	if all, _ := m.volumes(t.Context(), &v1.Pod{}); len(all) != 0 {
		t.Errorf("what is not there: %+v", all)
	}
}

func TestInterfaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dev")
	text := `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
  net1:   11 12 13 14 0 0 0 0 15 16 17 18 0 0 0 0
  eth0:   21 22 23 24 0 0 0 0 25 26 27 28 0 0 0 0
vethabc:   1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []Interface{
		{"net1", Traffic{11, 12, 13, 14}, Traffic{15, 16, 17, 18}}, {"eth0", Traffic{21, 22, 23, 24}, Traffic{25, 26, 27, 28}},
	}
	if diff := cmp.Diff(want, interfaces(file)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := networkOf(file, time.Now()); n.Name != "eth0" || *n.TxErrors != 27 || len(n.Interfaces) != 2 {
		t.Errorf("network %+v", n)
	}
}

func TestWalkCountsAFileOnce(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	f, err := walk(dir)
	if err != nil || f.inodes != 3 || f.bytes < 8192 || f.bytes > 20000 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestWhatIsOpen(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if files, sockets := descriptors(os.Getpid()); sockets < 1 || files < sockets {
		t.Errorf("%d files of which %d are sockets", files, sockets)
	}
	var want unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		t.Fatal(err)
	}
	if got, ok := openFiles(os.Getpid()); !ok || got != float64(want.Cur) && got != -1 {
		t.Errorf("%v files may be open, want %d", got, want.Cur)
	}
	if _, ok := openFiles(-1); ok {
		t.Error("a process that is not there has a limit")
	}
}
