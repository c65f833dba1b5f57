package device_test

import (
	"slices"
	"strings"
	"testing"

	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"boot.internal/kubelet/numa"
)

// lay says which devices there are and on which nodes: "a0 b01 c".
func (v *vendor) lay(text string) {
	var all []*api.Device
	for f := range strings.FieldsSeq(text) {
		d := &api.Device{ID: f[:1], Health: api.Healthy}
		for _, id := range f[1:] {
			if d.Topology == nil {
				d.Topology = &api.TopologyInfo{}
			}
			d.Topology.Nodes = append(d.Topology.Nodes, &api.NUMANode{ID: int64(id - '0')})
		}
		all = append(all, d)
	}
	v.devices <- all
}

// laid registers a plugin with such devices.
func (b *bench) laid(text string) {
	b.t.Helper()
	v := b.register()
	v.lay(text)
	b.await()
}

// wrote returns hints as "0+ 01", those with fewer nodes first; "any", and "none".
func wrote(all numa.Hints) string {
	hints, asked := all[gpu]
	switch {
	case !asked:
		return "nothing asked"
	case hints == nil:
		return "any"
	case len(hints) == 0:
		return "none"
	}
	slices.SortFunc(hints, func(a, b numa.Hint) int {
		if a.Nodes.Narrower(b.Nodes) {
			return -1
		}
		return 1
	})
	var text []string
	for _, h := range hints {
		f := strings.ReplaceAll(h.Nodes.String(), ",", "")
		if h.Preferred {
			f += "+"
		}
		text = append(text, f)
	}
	return strings.Join(text, " ")
}

// What upstream's device manager hints at for the same devices.
func TestHints(t *testing.T) {
	two := numa.NodesOf(0, 1)
	for _, test := range []struct {
		devices string
		taken   string // by another pod
		n       string
		machine numa.Nodes
		want    string
	}{
		{"a b", "0", "1", two, "any"},
		{"a0 b1", "0", "1", two, "0+ 1+ 01"},
		{"a0 b1", "0", "2", two, "01+"},
		{"a0 b1", "0", "3", two, "none"},
		{"a0 b0 c1", "0", "2", two, "0+ 01"},
		{"a0 b0 c1 d1", "3", "1", two, "1+ 01"},
		{"a0 b0 c1", "2", "1", two, "1+ 01"},
		{"a0 b0 c1", "1", "2", two, "01"}, // a node would be enough, were it not in use
		{"a0 b01", "0", "2", two, "0+ 01"},
		{"a0 b", "0", "1", two, "0+"},
		{"a0 b", "0", "2", two, "none"}, // what lies nowhere lies on no node
		{"a0 b3", "0", "1", numa.NodesOf(0, 1, 2), "0+"},
		{"a2 b3", "0", "1", two, "none"},
		{"a1 b3", "0", "1", numa.NodesOf(0, 1, 2, 3), "1+ 3+ 13"},
		{"a0 b1", "0", "0", two, "nothing asked"},
	} {
		t.Run(test.devices+" "+test.taken+" "+test.n, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			b.laid(test.devices)
			if test.taken != "0" {
				if err := b.For(t.Context(), test.machine).Allocate(asking("other", test.taken), "c0", numa.Hint{Nodes: numa.NodesOf(0)}); err != nil {
					t.Fatal(err)
				}
			}
			p := asking("1", test.n)
			if got := wrote(b.For(t.Context(), test.machine).Hints(p, "c0")); got != test.want {
				t.Errorf("the container %q, want %q", got, test.want)
			}
			if got := wrote(b.For(t.Context(), test.machine).PodHints(p)); got != test.want {
				t.Errorf("the pod %q, want %q", got, test.want)
			}
		})
	}
}

// What a container has already is all it may have.
func TestHintsOfThoseThatHaveSome(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.laid("a0 b0 c1")
	p := asking("1", "1", "1")
	b.allocate(p) // c, b
	g := b.For(t.Context(), numa.NodesOf(0, 1))
	for container, want := range map[string]string{"c0": "1+ 01", "c1": "0+ 01"} {
		if got := wrote(g.Hints(p, container)); got != want {
			t.Errorf("%s %q, want %q", container, got, want)
		}
	}
	if got := wrote(g.PodHints(p)); got != "01" {
		t.Errorf("the pod %q", got)
	}
	more := asking("1", "2", "1")
	if one, all := wrote(g.Hints(more, "c0")), wrote(g.PodHints(more)); one != "none" || all != "none" {
		t.Errorf("who wants another number now %q, its pod %q", one, all)
	}
}

// What an init container has is used again where it is.
func TestHintsOfDevicesUsedAgain(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.laid("a0 b1 c1")
	p := asking("1", "2")
	p.Spec.InitContainers = asking("", "1").Spec.Containers
	p.Spec.InitContainers[0].Name = "i"
	g := b.For(t.Context(), numa.NodesOf(0, 1))
	if got := wrote(g.PodHints(p)); got != "1+ 01" {
		t.Errorf("the pod %q", got)
	}
	if err := g.Allocate(p, "i", numa.Hint{Nodes: numa.NodesOf(0)}); err != nil {
		t.Fatal(err)
	}
	if got := wrote(g.Hints(p, "c0")); got != "01" {
		t.Errorf("the container %q", got)
	}
}

// Devices that are near are taken first, whatever the plugin likes, which are the last.
func TestDevicesThatAreNear(t *testing.T) {
	for _, test := range []struct{ devices, n, want string }{
		{"a0 b0 c1 d", "1", "b"},
		{"a0 b0 c1 d", "2", "a,b"},
		{"a0 b0 c1 d", "3", "a,b,d"}, // beyond those it is the plugin's turn
		{"a0 b01 c1", "2", "a,b"},
		{"a b c", "2", "c,b"},
		{"a1 b1 c1", "1", "c"},
	} {
		t.Run(test.devices+" "+test.n, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			b.laid(test.devices)
			p := asking("1", test.n)
			if err := b.For(t.Context(), numa.NodesOf(0, 1)).Allocate(p, "c0", numa.Hint{Nodes: numa.NodesOf(0)}); err != nil {
				t.Fatal(err)
			}
			if got := env(b.equip(p, "c0")); got != test.want {
				t.Errorf("it has %s, want %s", got, test.want)
			}
		})
	}
}

// A whole pod placed on one node, and one that cannot be.
func TestPlacedOnOneNode(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.laid("a0 b1 c1 d1")
	m := &numa.Machine{Nodes: []numa.Node{{ID: 0}, {ID: 1}}}
	pl, err := numa.New(numa.Options{Policy: numa.SingleNode, Scope: numa.PerPod, Nodes: numa.MaxDefault}, m)
	if err != nil {
		t.Fatal(err)
	}
	p := asking("1", "1", "1")
	if err := pl.Place(p, b.For(t.Context(), m.All())); err != nil {
		t.Fatal(err)
	}
	if one, other := env(b.equip(p, "c0")), env(b.equip(p, "c1")); one != "d" || other != "c" {
		t.Errorf("it has %s and %s", one, other)
	}
	if err := pl.Place(p, b.For(t.Context(), m.All())); err != nil {
		t.Errorf("it has them already, and yet: %v", err)
	}
	if err := pl.Place(asking("2", "2"), b.For(t.Context(), m.All())); err == nil {
		t.Error("a pod has what is not on one node")
	}
	if got := b.Health("2"); got != nil {
		t.Errorf("a pod that was refused has %v", got)
	}
}
