package cpus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/hint"
	"boot.internal/kubelet/numa"
)

// A bench is a pool with how often others were shared.
type bench struct {
	*Pool
	t       *testing.T
	changes int
}

// options are those of a machine where CPU 0 is reserved.
func options(t *testing.T, dir, shape, on string) Options {
	t.Helper()
	return Options{
		Dir: dir, Machine: machine(t, shape), Policy: policyOf(t, on), Reserve: resource.MustParse("500m"),
		Guaranteed: func(p *v1.Pod) bool { return p.Status.QOSClass == v1.PodQOSGuaranteed },
		Changed:    func() {}, Aligned: func(string, bool) {}, Log: slog.New(slog.DiscardHandler),
	}
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	b := &bench{t: t}
	o.Changed = func() { b.changes++ }
	var err error
	if b.Pool, err = New(o); err != nil {
		t.Fatal(err)
	}
	return b
}

// asking is a guaranteed pod of containers such as "i:2 s:1 c:500m": init containers,
// sidecars and regular ones, each named by its place: i0, s1, c2.
func asking(uid, containers string) *v1.Pod {
	p := &v1.Pod{}
	p.UID, p.Status.QOSClass = types.UID(uid), v1.PodQOSGuaranteed
	for n, text := range strings.Fields(containers) {
		kind, amount, _ := strings.Cut(text, ":")
		cpu := v1.ResourceList{v1.ResourceCPU: resource.MustParse(amount)}
		c := v1.Container{Name: fmt.Sprint(kind, n), Resources: v1.ResourceRequirements{Requests: cpu, Limits: cpu}}
		if kind == "s" {
			c.RestartPolicy = new(v1.ContainerRestartPolicyAlways)
		}
		if kind == "c" {
			p.Spec.Containers = append(p.Spec.Containers, c)
		} else {
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		}
	}
	return p
}

// allocate gives all containers of a pod what they ask for and returns what those have
// for themselves: "c0=1,3".
func (b *bench) allocate(p *v1.Pod, at numa.Hint) (string, error) {
	var got []string
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			if err := b.Allocate(p, c.Name, at); err != nil {
				return strings.Join(got, " "), err
			}
			if cpus, alone := b.Of(p.UID, c.Name); alone {
				got = append(got, c.Name+"="+cpus)
			}
		}
	}
	return strings.Join(got, " "), nil
}

func (b *bench) expect(p *v1.Pod, want, shared string) {
	b.t.Helper()
	got, err := b.allocate(p, numa.Hint{})
	if err != nil || got != want {
		b.t.Errorf("containers have %q, want %q (%v)", got, want, err)
	}
	if cpus, alone := b.Of("nobody", "c"); cpus != shared || alone {
		b.t.Errorf("all others have %s, want %s", cpus, shared)
	}
}

func TestAllocate(t *testing.T) {
	burstable := asking("1", "c:1")
	burstable.Status.QOSClass = v1.PodQOSBurstable
	asWhole := asking("1", "c:1")
	asWhole.Spec.Resources = &v1.ResourceRequirements{Requests: asWhole.Spec.Containers[0].Resources.Requests}
	for name, c := range map[string]struct {
		pod          *v1.Pod
		want, shared string
	}{
		"whole CPUs":                    {asking("1", "c:2"), "c0=1-2", "0,3-7"},
		"parts of CPUs":                 {asking("1", "c:1500m"), "", "0-7"},
		"some of both":                  {asking("1", "c:1500m c:1"), "c1=1", "0,2-7"},
		"not guaranteed":                {burstable, "", "0-7"},
		"resources of the pod":          {asWhole, "", "0-7"},
		"init containers pass theirs":   {asking("1", "i:2 i:4 c:3"), "i0=1-2 i1=1-4 c2=1-3", "0,5-7"},
		"several share what was theirs": {asking("1", "i:4 c:1 c:2"), "i0=1-4 c1=1 c2=2-3", "0,5-7"},
		"sidecars keep theirs":          {asking("1", "i:1 s:2 i:3 c:2"), "i0=1 s1=1-2 i2=3-5 c3=3-4", "0,6-7"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, options(t, t.TempDir(), "1/1/1/8/1", ""))
			b.expect(c.pod, c.want, c.shared)
			b.Forget("1")
			b.expect(asking("2", "c:500m"), "", "0-7")
		})
	}
}

func TestNoneLeft(t *testing.T) {
	b := newBench(t, options(t, t.TempDir(), "1/1/1/2/1", ""))
	b.expect(asking("1", "c:1"), "c0=1", "0")
	changes := b.changes
	_, err := b.allocate(asking("2", "c:1"), numa.Hint{})
	if err == nil || err.Error() != "not enough cpus available to satisfy request: requested=1, available=0" {
		t.Error(err)
	}
	b.expect(asking("1", "c:1"), "c0=1", "0") // has it already
	if b.changes != changes {
		t.Error("nothing changed, but that is said")
	}
	b.Keep(map[types.UID]bool{"2": true})
	if b.changes != changes+1 || b.HasAny("1") {
		t.Error("what nobody has is not shared")
	}
	b.expect(asking("2", "c:1"), "c0=1", "0")
	if diff := cmp.Diff([]int64{1}, b.IDs("2", "c0")); diff != "" || b.IDs("2", "c1") != nil {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int64{1}, b.Allocatable()); diff != "" {
		t.Error(diff)
	}
}

func TestWholeCores(t *testing.T) {
	o := options(t, t.TempDir(), "1/1/1/4/2", wholeCores)
	o.Reserved, o.Reserve = set(t, "0-1"), resource.MustParse("2")
	b := newBench(t, o)
	for asks, want := range map[string]string{
		"c:3": "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2",
		"c:6": "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 4, requested CPUs = 6, CPUs per core = 2",
	} {
		_, err := b.allocate(asking("1", asks), numa.Hint{})
		if r := (*numa.Refusal)(nil); !errors.As(err, &r) || r.Reason != "SMTAlignmentError" || r.Err.Error() != want {
			t.Errorf("%s: %v", asks, err)
		}
	}
	b.expect(asking("1", "c:4"), "c0=2-3,6-7", "0-1,4-5")
}

func TestNear(t *testing.T) {
	for name, c := range map[string]struct {
		options, asks string
		at            numa.Nodes
		want          string
	}{
		"on its node":                   {"", "c:2", numa.NodesOf(1), "c0=2-3"},
		"as much as there is":           {"", "c:3", numa.NodesOf(1), "c0=1-3"},
		"on two nodes":                  {"", "c:3", numa.NodesOf(2, 3), "c0=4-6"},
		"on the socket of a node":       {bySocket, "c:3", numa.NodesOf(3), "c0=4-6"},
		"in a pod with init containers": {"", "i:2 c:2", numa.NodesOf(2), "i0=4-5 c1=4-5"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, options(t, t.TempDir(), "2/2/1/2/1", c.options))
			got, err := b.allocate(asking("1", c.asks), numa.Hint{Nodes: c.at})
			if err != nil || got != c.want {
				t.Errorf("has %q, want %q (%v)", got, c.want, err)
			}
		})
	}
}

// texts writes hints as "0 1! 0,1": those with a mark are preferred.
func texts(h numa.Hints) string {
	all, ok := h[v1.ResourceCPU]
	if !ok {
		return "anywhere"
	}
	var out []string
	for _, h := range all {
		mark := ""
		if h.Preferred {
			mark = "!"
		}
		out = append(out, h.Nodes.String()+mark)
	}
	return strings.Join(out, " ")
}

func TestHints(t *testing.T) {
	b := newBench(t, options(t, t.TempDir(), "2/1/1/4/1", "")) // 0 is reserved
	for _, c := range []struct {
		asks, container, want string
	}{
		{"c:500m", "c0", "anywhere"},
		{"c:3", "c0", "0! 1! 0,1"},
		{"c:4", "c0", "1! 0,1"},
		{"c:5", "c0", "0,1!"},
		{"c:8", "c0", ""},
		{"c:1", "other", "anywhere"},
		{"i:4 c:1", "", "1! 0,1"},
		{"c:2 c:2", "", "1! 0,1"},
		{"s:3 c:2", "", "0,1!"},
	} {
		p := asking("1", c.asks)
		got := texts(b.Hints(p, c.container))
		if c.container == "" {
			got = texts(b.PodHints(p))
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.asks, got, c.want)
		}
	}
	p := asking("1", "i:2 c:2")
	if _, err := b.allocate(p, numa.Hint{Nodes: numa.NodesOf(1)}); err != nil {
		t.Fatal(err)
	}
	if got := texts(b.Hints(p, "c1")) + ";" + texts(b.PodHints(p)); got != "1! 0,1;1! 0,1" {
		t.Errorf("what has CPUs already could have them from %q", got)
	}
	if got := texts(b.Hints(asking("1", "i:2 c:1"), "c1")) + texts(b.PodHints(asking("1", "i:2 c:1"))); got != "" {
		t.Errorf("what asks for less than it has could have that from %q", got)
	}
	wide := newBench(t, options(t, t.TempDir(), "2/2/1/2/1", bySocket))
	if got, want := texts(wide.Hints(asking("1", "c:2"), "c0")), "1! 2! 3! 0,1! 0,2 0,3 1,2 1,3 2,3! 0,1,2 0,1,3 0,2,3 1,2,3 0,1,2,3"; got != want {
		t.Errorf("by socket %q, want %q", got, want)
	}
}

func TestReserved(t *testing.T) {
	for name, c := range map[string]struct {
		options, named, amount string
		want                   string // CPUs that can be had
	}{
		"by number":       {"", "", "1500m", "1-3,5-7"},
		"by name":         {"", "2,6", "2", "0-1,3-5,7"},
		"none":            {"", "", "0", "the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero"},
		"too many":        {"", "", "9", `unable to reserve the required amount of CPUs (size of  did not equal 9)`},
		"not there":       {"", "8", "1", "reserved-cpus: 8 is not a subset of online-cpus: 0-7"},
		"not with others": {bySocket, "", "1", "1-7"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, t.TempDir(), "1/1/1/4/2", c.options)
			o.Reserved, o.Reserve = set(t, c.named), resource.MustParse(c.amount)
			p, err := New(o)
			if err != nil {
				if err.Error() != c.want {
					t.Error(err)
				}
				return
			}
			if diff := cmp.Diff(numbers(set(t, c.want)), p.Allocatable()); diff != "" {
				t.Error(diff)
			}
		})
	}
	b := newBench(t, options(t, t.TempDir(), "1/1/1/4/1", strict))
	b.expect(asking("1", "c:1"), "c0=1", "2-3")
}

// What was given before a restart stays, unless the configuration or the machine is
// another.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir, "1/1/1/4/1", "")
	newBench(t, o).expect(asking("1", "c:2"), "c0=1-2", "0,3")
	newBench(t, o).expect(asking("1", "c:2"), "c0=1-2", "0,3")
	for name, c := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"others are reserved":   {func(o *Options) { o.Reserved = set(t, "2") }, `not all reserved cpus: "2" are present in defaultCpuSet: "0,3"`},
		"reserved are excluded": {func(o *Options) { o.Policy.Strict = true }, `some of strictly reserved cpus: "0" are present in defaultCpuSet: "0,3"`},
		"more CPUs":             {func(o *Options) { o.Machine = machine(t, "1/1/1/5/1") }, `current set of available CPUs "0-4" doesn't match with CPUs in state "0-3"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			c.change(&o)
			_, err := New(o)
			if err == nil || err.Error() != "could not restore state from checkpoint: "+c.want || hint.Of(err) == "" {
				t.Error(err)
			}
		})
	}
	err := CheckUnused(dir, "none")
	want := `could not restore state from checkpoint: configured policy "none" differs from state checkpoint policy "static"`
	if err == nil || err.Error() != want {
		t.Error(err)
	}
	if err := CheckUnused(t.TempDir(), "none"); err != nil {
		t.Error(err)
	}
}

func TestNotKept(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, options(t, dir, "1/1/1/4/1", ""))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	b.expect(asking("1", "c:1"), "c0=1", "0,2-3") // as upstream has it, the pod runs
}

func TestFigures(t *testing.T) {
	o, aligned := options(t, t.TempDir(), "2/1/1/4/1", wholeCores), map[string]int{}
	o.Aligned = func(boundary string, ok bool) { aligned[fmt.Sprint(boundary, " ", ok)]++ }
	b := newBench(t, o)
	b.expect(asking("1", "i:2 c:2"), "i0=1-2 c1=1-2", "0,3-7")
	if _, err := b.allocate(asking("2", "c:6"), numa.Hint{}); err == nil {
		t.Error("there are not so many")
	}
	r := prometheus.NewRegistry()
	r.MustRegister(b.Metrics()...)
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			name := []string{strings.TrimPrefix(f.GetName(), "kubelet_")}
			for _, l := range m.Label {
				name = append(name, l.GetValue())
			}
			got[strings.Join(name, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"cpu_manager_pinning_requests_total": 3, "cpu_manager_pinning_errors_total": 1,
		"cpu_manager_shared_pool_size_millicores": 5000, "cpu_manager_exclusive_cpu_allocation_count": 2,
		"cpu_manager_allocation_per_numa 0": 2, "cpu_manager_allocation_per_numa 1": 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"physical_cpu true": 2, "physical_cpu false": 1, "uncore_cache true": 2}, aligned); diff != "" {
		t.Error(diff)
	}
}
