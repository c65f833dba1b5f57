package numa

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A lender has hints by container, and "" for the pod, and tells what it is asked.
type lender struct {
	name  string
	hints map[string]string
	full  string // container that it has nothing for
	said  *[]string
}

var errFull = errors.New("full")

func (l lender) say(format string, args ...any) {
	*l.said = append(*l.said, l.name+" "+fmt.Sprintf(format, args...))
}

func (l lender) Hints(_ *v1.Pod, container string) Hints {
	l.say("hints for %s", container)
	return readHints(l.hints[container])
}

func (l lender) PodHints(*v1.Pod) Hints {
	l.say("hints for the pod")
	return readHints(l.hints[""])
}

func (l lender) Allocate(_ *v1.Pod, container string, at Hint) error {
	l.say("gives %s at [%s] %v", container, at.Nodes, at.Preferred)
	if l.full == container {
		return errFull
	}
	return nil
}

func (l lender) Forget(types.UID) { l.say("forgets") }

// three is a pod of an init container, a sidecar, and a container.
func three() *v1.Pod {
	p := &v1.Pod{}
	p.Spec.InitContainers = []v1.Container{{Name: "i"}, {Name: "s", RestartPolicy: new(v1.ContainerRestartPolicyAlways)}}
	p.Spec.Containers = []v1.Container{{Name: "c"}}
	return p
}

func TestPlace(t *testing.T) {
	for name, test := range map[string]struct {
		policy      Policy
		scope       Scope
		hints, full map[string]string // of a, by container; b has no container that is not full
		want        []string
		aligned     string // what is told
		err         error
	}{
		"none asks nobody where": {policy: None, scope: PerContainer, want: []string{
			"a gives i at [] false", "b gives i at [] false", "a gives s at [] false", "b gives s at [] false", "a gives c at [] false", "b gives c at [] false",
		}},
		"container by container": {policy: SingleNode, scope: PerContainer, hints: map[string]string{"i": "1+", "c": "0+ 1+"}, want: []string{
			"a hints for i", "b hints for i", "a gives i at [1] true", "b gives i at [1] true",
			"a hints for s", "b hints for s", "a gives s at [] true", "b gives s at [] true",
			"a hints for c", "b hints for c", "a gives c at [0] true", "b gives c at [0] true",
		}, aligned: "true true true"},
		"the first that cannot lie together ends it": {policy: SingleNode, scope: PerContainer, hints: map[string]string{"s": "0+ / 1+"}, want: []string{
			"a hints for i", "b hints for i", "a gives i at [] true", "b gives i at [] true", "a hints for s", "b hints for s",
		}, aligned: "true false", err: ErrTopology},
		"the pod as a whole": {policy: SingleNode, scope: PerPod, hints: map[string]string{"": "1+"}, want: []string{
			"a hints for the pod", "b hints for the pod",
			"a gives i at [1] true", "b gives i at [1] true", "a gives s at [1] true", "b gives s at [1] true", "a gives c at [1] true", "b gives c at [1] true",
		}, aligned: "true"},
		"the pod cannot lie together": {
			policy: Restricted, scope: PerPod, hints: map[string]string{"": "1"},
			want: []string{"a hints for the pod", "b hints for the pod"}, err: ErrTopology,
		},
		"an owner has nothing": {policy: BestEffort, scope: PerPod, full: map[string]string{"a": "s"}, want: []string{
			"a hints for the pod", "b hints for the pod", "a gives i at [0,1] true", "b gives i at [0,1] true", "a gives s at [0,1] true",
		}, err: errFull},
	} {
		t.Run(name, func(t *testing.T) {
			var said, aligned []string
			pl, err := New(Options{Policy: test.policy, Scope: test.scope, Nodes: MaxDefault, Aligned: func(is bool) {
				aligned = append(aligned, fmt.Sprint(is))
			}}, machine(2))
			if err != nil {
				t.Fatal(err)
			}
			err = pl.Place(three(), lender{"a", test.hints, test.full["a"], &said}, lender{"b", nil, "", &said})
			if !errors.Is(err, test.err) || !slices.Equal(said, test.want) || strings.Join(aligned, " ") != test.aligned {
				t.Errorf("%v\n%s\naligned %s", err, strings.Join(said, "\n"), aligned)
			}
			if r := (*Refusal)(nil); errors.Is(err, ErrTopology) && (!errors.As(err, &r) || r.Reason != "TopologyAffinityError") {
				t.Errorf("it is refused as %v", r)
			}
		})
	}
}

func TestMachinesThatAreRefused(t *testing.T) {
	for want, test := range map[string]struct {
		o Options
		m *Machine
	}{
		"": {Options{Policy: None}, machine(9)},
		"unsupported on machines with more than 8 NUMA Nodes":  {Options{Policy: BestEffort, Nodes: 8}, machine(9)},
		"unsupported on machines with more than 10 NUMA Nodes": {Options{Policy: BestEffort, Nodes: 10}, machine(11)},
		"error getting NUMA distances":                         {Options{Policy: BestEffort, Nodes: 8, Closest: true}, &Machine{Nodes: []Node{{}}}},
	} {
		_, err := New(test.o, test.m)
		if err == nil && want == "" {
			continue
		}
		var hint interface{ Hint() string }
		if err == nil || err.Error() != want || !errors.As(err, &hint) || hint.Hint() == "" {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		options map[string]string
		want    Options
		err     string
	}{
		{nil, Options{Nodes: 8}, ""},
		{map[string]string{"prefer-closest-numa-nodes": "true", "max-allowable-numa-nodes": "12"}, Options{Nodes: 12, Closest: true}, ""},
		{map[string]string{"prefer-closest-numa-nodes": "often"}, Options{}, `bad value for option "prefer-closest-numa-nodes": strconv.ParseBool: parsing "often": invalid syntax`},
		{map[string]string{"max-allowable-numa-nodes": "many"}, Options{}, `unable to convert policy option to integer "max-allowable-numa-nodes": strconv.Atoi: parsing "many": invalid syntax`},
		{map[string]string{"max-allowable-numa-nodes": "7"}, Options{}, `the minimum value of "max-allowable-numa-nodes" should not be less than 8`},
		{map[string]string{"near": "true"}, Options{}, `unknown Topology Manager Policy option: "near"`},
	} {
		var o Options
		err := o.Parse(test.options)
		if err == nil && (test.err != "" || o.Nodes != test.want.Nodes || o.Closest != test.want.Closest) || err != nil && err.Error() != test.err {
			t.Errorf("%v: %+v, %v", test.options, o, err)
		}
	}
}
