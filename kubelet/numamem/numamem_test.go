package numamem

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem/state"
	"boot.internal/kubelet/status"
)

// A scene is a machine and what happens on it.
type scene struct {
	t    *testing.T
	o    Options
	bank *Bank
	pods map[string]*v1.Pod
}

// newScene makes a machine of nodes with so many GiB, one of them reserved for the
// system, and so many huge pages of 1 GiB among them: "8 8+2".
func newScene(t *testing.T, machine string) *scene {
	t.Helper()
	s := &scene{t: t, pods: map[string]*v1.Pod{}, o: Options{
		Path: filepath.Join(t.TempDir(), "memory_manager_state"), Reserved: Reserved{}, QOS: status.QOSClass, Log: slog.New(slog.DiscardHandler),
	}}
	for id, n := range strings.Fields(machine) {
		memory, huge, _ := strings.Cut(n, "+")
		pages, _ := strconv.ParseUint(huge, 10, 64)
		s.o.Nodes = append(s.o.Nodes, numa.Node{ID: id, Memory: gib(memory), Pages: map[uint64]uint64{gib("1"): pages}})
		s.o.Reserved[id] = map[v1.ResourceName]uint64{v1.ResourceMemory: gib("1")}
	}
	s.restart()
	return s
}

func gib(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n << 30
}

func (s *scene) restart() {
	s.t.Helper()
	var err error
	if s.bank, err = New(s.o); err != nil {
		s.t.Fatal(err)
	}
}

// newPod returns a pod whose containers ask for so many GiB of memory, and of huge pages:
// "i=3 s=1 c=2+1", where i begins the name of init containers and s of sidecars.
func newPod(name, containers string) *v1.Pod {
	p := &v1.Pod{}
	p.UID = types.UID(name)
	for text := range strings.FieldsSeq(containers) {
		c, ask, _ := strings.Cut(text, "=")
		memory, huge, _ := strings.Cut(ask, "+")
		all := v1.ResourceList{v1.ResourceCPU: resource.MustParse("1"), v1.ResourceMemory: resource.MustParse(memory + "Gi")}
		if huge != "" {
			all["hugepages-1Gi"] = resource.MustParse(huge + "Gi")
		}
		is := v1.Container{Name: c, Resources: v1.ResourceRequirements{Limits: all, Requests: all}}
		switch c[0] {
		case 's':
			is.RestartPolicy = new(v1.ContainerRestartPolicyAlways)
			fallthrough
		case 'i':
			p.Spec.InitContainers = append(p.Spec.InitContainers, is)
		default:
			p.Spec.Containers = append(p.Spec.Containers, is)
		}
	}
	return p
}

// placement reads "0,1!", of which the mark says that it is preferred.
func placement(text string) numa.Hint {
	nodes, preferred := strings.CutSuffix(text, "!")
	h := numa.Hint{Preferred: preferred}
	for id := range strings.SplitSeq(nodes, ",") {
		if n, err := strconv.Atoi(id); err == nil {
			h.Nodes |= numa.NodesOf(n)
		}
	}
	return h
}

// do does one thing and tells what comes of it.
func (s *scene) do(what string) string {
	verb, rest, _ := strings.Cut(what, " ")
	name, rest, _ := strings.Cut(rest, " ")
	switch verb {
	case "pod": // is told of
		s.pods[name] = newPod(name, rest)
	case "burstable": // as well
		s.pods[name] = newPod(name, rest)
		s.pods[name].Spec.Containers[0].Resources.Limits = nil
	case "whole": // as well: one with resources of its own
		s.pods[name] = newPod(name, rest)
		s.pods[name].Spec.Resources = &s.pods[name].Spec.Containers[0].Resources
	case "give": // a container what it asks for
		container, at, _ := strings.Cut(rest, " ")
		if err := s.bank.Allocate(s.pods[name], container, placement(at)); err != nil {
			return err.Error()
		}
		return s.has(name, container)
	case "hints":
		return hintText(s.bank.Hints(s.pods[name], rest))
	case "podhints":
		return hintText(s.bank.PodHints(s.pods[name]))
	case "forget":
		s.bank.Forget(types.UID(name))
	case "keep":
		s.bank.Keep(map[types.UID]bool{types.UID(name): true})
	case "starts":
		s.bank.starts(s.pods[name], rest)
	case "restart":
		s.restart()
	default:
		s.t.Fatal(what)
	}
	return s.free()
}

func (s *scene) has(name, container string) string {
	var all []string
	for _, block := range s.bank.blocks(types.UID(name), container) {
		all = append(all, fmt.Sprintf("%d@%v", block.Size>>30, numa.NodesOf(block.NUMAAffinity...)))
	}
	return strings.Join(all, " ")
}

// free tells how much memory, and how many huge pages, all nodes have left.
func (s *scene) free() string {
	var all []string
	for id := range s.o.Nodes {
		m := s.bank.nodes[id].MemoryMap
		text := fmt.Sprint(m[v1.ResourceMemory].Free >> 30)
		if huge := m["hugepages-1Gi"]; huge.Allocatable > 0 {
			text += fmt.Sprint("+", huge.Free>>30)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func hintText(all numa.Hints) string {
	var same []string
	for _, list := range all {
		var texts []string
		for _, h := range list {
			text := h.Nodes.String()
			if h.Preferred {
				text += "!"
			}
			texts = append(texts, text)
		}
		same = append(same, strings.Join(texts, " "))
	}
	slices.Sort(same)
	return strings.Join(slices.Compact(same), " | ")
}

// A file of a machine that is another now, or is reserved otherwise, is not gone on from.
func TestRefused(t *testing.T) {
	const another = "could not restore state from checkpoint: [memorymanager] the expected machine state is different from the real one"
	given := func(s *scene, nodes []int, name v1.ResourceName) {
		s.bank.given["a"] = map[string][]state.Block{"c": {{NUMAAffinity: nodes, Type: name, Size: 1}}}
		s.bank.save()
	}
	for name, test := range map[string]struct {
		change func(*scene)
		want   string
	}{
		"nothing":             {func(*scene) {}, ""},
		"more memory":         {func(s *scene) { s.o.Nodes[1].Memory++ }, another},
		"more huge pages":     {func(s *scene) { s.o.Nodes[1].Pages[1<<30]++ }, another},
		"another size":        {func(s *scene) { s.o.Nodes[1].Pages[2<<20]++ }, another},
		"another reservation": {func(s *scene) { s.o.Reserved[0][v1.ResourceMemory]++ }, another},
		"one node fewer":      {func(s *scene) { s.o.Nodes = s.o.Nodes[:1] }, another},
		"not as given":        {func(s *scene) { given(s, []int{1}, v1.ResourceMemory) }, another},
		"no such node": {
			func(s *scene) { given(s, []int{2}, v1.ResourceMemory) },
			"could not restore state from checkpoint: [memorymanager] (pod: a, container: c) the memory assignment uses the NUMA that does not exist",
		},
		"no such resource": {
			func(s *scene) { given(s, []int{1}, "hugepages-2Mi") },
			"could not restore state from checkpoint: [memorymanager] (pod: a, container: c) the memory assignment uses memory resource that does not exist",
		},
		"no nodes": {
			func(s *scene) { s.bank.nodes = nil; given(s, []int{1}, v1.ResourceMemory) },
			"could not restore state from checkpoint: [memorymanager] machine state can not be empty when it has memory assignments",
		},
		"too much reserved": {
			func(s *scene) { s.o.Reserved[1][v1.ResourceMemory] = 9 << 30 },
			"reserve memory of NUMA node 1: it has 8589934592 bytes of memory, 1073741824 of them as huge pages, and 9663676416 are to be reserved",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "8 8+1")
			test.change(s)
			_, err := New(s.o)
			if err == nil && test.want != "" || err != nil && err.Error() != test.want {
				t.Errorf("%v", err)
			}
		})
	}
}

// Who gives nothing does not go on where something was given.
func TestUnused(t *testing.T) {
	s := newScene(t, "8")
	const want = `could not restore state from checkpoint: [memorymanager] configured policy "None" differs from state checkpoint policy "Static"`
	if err := CheckUnused(s.o.Path); err == nil || err.Error() != want {
		t.Error(err)
	}
	if err := state.Store(s.o.Path, unused, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(CheckUnused(s.o.Path), CheckUnused(s.o.Path+".not")); err != nil {
		t.Error(err)
	}
	if _, err := New(s.o); err == nil {
		t.Error("a file of nobody is gone on from")
	}
}

// A request in parts of a byte is none that upstream serves.
func TestFraction(t *testing.T) {
	s := newScene(t, "8")
	p := newPod("a", "c=1")
	q := resource.MustParse("1500m")
	p.Spec.Containers[0].Resources.Limits[v1.ResourceMemory] = q
	if err := s.bank.Allocate(p, "c", numa.Hint{}); err == nil || err.Error() != "[memorymanager] failed to represent quantity as int64" {
		t.Error(err)
	}
	if s.bank.Hints(p, "c") != nil || s.bank.PodHints(p) != nil {
		t.Error("it has hints")
	}
}

func TestScenes(t *testing.T) {
	const (
		noDefault = "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"
		noWider   = "[memorymanager] failed to find NUMA nodes to extend the current topology hint"
		notBest   = "[memorymanager] failed to find the default preferred hint"
		notBest2  = "[memorymanager] failed to find the extended preferred hint"
		violates  = "[memorymanager] preferred hint violates NUMA node allocation"
	)
	for _, test := range []struct{ name, machine, steps string }{
		{"one node", "8", `
			pod a c=3 d=4 -> 7
			hints a c -> 0!
			give a c -> 3@0
			give a d 0! -> 4@0
			pod b c=1 -> 0
			hints b c ->
			give b c -> ` + noDefault + `
			forget a -> 7
			give b c -> 1@0`},
		{"a node, or several together, and never both", "8 8 8", `
			pod a c=5 -> 7 7 7
			hints a c -> 0! 1! 0,1 2! 0,2 1,2 0,1,2
			give a c 1! -> 5@1
			pod b c=9 -> 7 2 7
			hints b c -> 0,2!
			give b c 0,1! -> ` + violates + `
			give b c -> 9@0,2
			pod c c=1 -> 0 2 5
			hints c c -> 1! 0,2
			give c c 2 -> 1@2
			forget b -> 7 2 6`},
		{"a placement is widened as far as it takes", "8 8 8", `
			pod a c=12 -> 7 7 7
			give a c 1 -> 12@0,1
			pod b c=8 -> 0 2 7
			hints b c ->
			give b c -> ` + noDefault + `
			give b c 2! -> ` + noWider},
		{"what is preferred has to stay so", "8 8", `
			pod a c=6 -> 7 7
			give a c 0! -> 6@0
			pod b c=6 -> 1 7
			give b c 1! -> 6@1
			pod c c=2 -> 1 1
			give c c ! -> ` + noDefault + `
			forget a -> 7 1
			forget b -> 7 7
			pod d c=8 -> 7 7
			give d c -> 8@0,1
			pod e c=5 -> 0 6
			hints e c -> 0,1
			give e c ! -> ` + notBest + `
			give e c 0! -> ` + notBest2 + `
			give e c 1! -> 5@1
			forget d -> 7 2
			pod f c=1 -> 7 2
			give f c 0,1! -> ` + violates},
		{"what init containers had is used again", "16", `
			pod a i1=4 i2=6 c=3 d=2 -> 15
			podhints a -> 0!
			give a i1 -> 4@0
			give a i2 -> 6@0
			give a c -> 3@0
			give a d -> 2@0
			restart -> 9
			give a i2 -> 1@0
			starts a c -> 10
			restart -> 10
			give a i1 ->
			hints a i2 ->
			hints a c -> 0!
			forget a -> 15`},
		{"sidecars keep theirs", "16", `
			pod a i1=2 s1=2 i2=4 c=3 -> 15
			give a i1 -> 2@0
			give a s1 -> 2@0
			give a i2 -> 4@0
			give a c -> 3@0
			restart -> 9
			starts a i1 -> 9
			starts a i2 -> 9
			starts a c -> 10
			forget a -> 15`},
		{"huge pages come from where the memory does", "8 8+4", `
			pod a c=2+3 -> 7 3+4
			hints a c -> 1! 0,1
			give a c -> 3@1 2@1
			pod b c=1+2 -> 7 1+1
			give b c -> ` + noDefault + `
			restart -> 7 1+1
			forget a -> 7 3+4`},
		{"who has no memory for itself", "8", `
			burstable a c=2 -> 7
			hints a c ->
			podhints a ->
			give a c ->
			whole b c=2 -> 7
			hints b c ->
			podhints b ->
			give b c ->
			restart -> 7`},
		{"a restart", "8 8", `
			pod a c=10 -> 7 7
			give a c -> 10@0,1
			pod b c=3 -> 0 4
			give b c 1! -> 3@1
			restart -> 0 1
			hints a c -> 0,1!
			podhints a -> 0,1!
			give a c -> 10@0,1
			keep a -> 0 4
			restart -> 0 4
			keep c -> 7 7`},
		{"a pod together", "8 8", `
			pod a i=9 s=2 c=3 d=1 -> 7 7
			podhints a -> 0,1!
			pod b s=2 i=1 c=3 d=1 -> 7 7
			podhints b -> 0! 1! 0,1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t, test.machine)
			for step := range strings.Lines(strings.TrimSpace(test.steps)) {
				what, want, _ := strings.Cut(strings.TrimSpace(step), "->")
				if got := s.do(strings.TrimSpace(what)); got != strings.TrimSpace(want) {
					t.Fatalf("%s\n got %s\nwant%s", strings.TrimSpace(what), got, want)
				}
			}
		})
	}
}
