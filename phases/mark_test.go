package phases

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func (w *world) mark() markControlPlane {
	return markControlPlane{w.api(), "node-1", w.cfg.Init.NodeRegistration.Taints, 10 * time.Second}
}

var notReady = corev1.Taint{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule}

func node(edit func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{"kubernetes.io/os": "linux"}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{notReady}},
	}
	if edit != nil {
		edit(n)
	}
	return n
}

func TestMarkControlPlane(t *testing.T) {
	const taint = "node-role.kubernetes.io/control-plane:NoSchedule"
	ours := corev1.Taint{Key: roleLabel, Effect: corev1.TaintEffectNoSchedule}
	for _, tt := range []struct {
		name   string
		config string
		node   *corev1.Node
		want   []string
		taints []corev1.Taint
	}{
		{"new", "", node(nil), []string{"mark the node node-1 with " + roleLabel + ", " + excludeLabel + ", " + taint}, []corev1.Taint{notReady, ours}},
		{"labels are there", "", node(func(n *corev1.Node) { n.Labels[roleLabel], n.Labels[excludeLabel] = "", "" }), []string{"mark the node node-1 with " + taint}, []corev1.Taint{notReady, ours}},
		{
			"taint with another value", "",
			node(func(n *corev1.Node) {
				n.Labels[roleLabel], n.Labels[excludeLabel] = "", ""
				n.Spec.Taints = []corev1.Taint{{Key: roleLabel, Value: "x", Effect: corev1.TaintEffectNoSchedule}}
			}),
			[]string{"mark the node node-1 with " + taint},
			[]corev1.Taint{ours},
		},
		{
			"all is there", "",
			node(func(n *corev1.Node) {
				n.Labels[roleLabel], n.Labels[excludeLabel] = "", ""
				n.Spec.Taints = []corev1.Taint{ours, notReady}
			}),
			nil,
			[]corev1.Taint{ours, notReady},
		},
		{
			"no taints wanted", "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: {taints: []}",
			node(nil),
			[]string{"mark the node node-1 with " + roleLabel + ", " + excludeLabel},
			[]corev1.Taint{notReady},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := running(t, tt.config)
			w.put(tt.node)
			if diff := cmp.Diff(tt.want, w.runPhase(w.mark())); diff != "" {
				t.Error(diff)
			}
			var n corev1.Node
			w.object("/api/v1/nodes/node-1", &n)
			if diff := cmp.Diff(tt.taints, n.Spec.Taints); diff != "" {
				t.Error(diff)
			}
			want := map[string]string{"kubernetes.io/os": "linux", roleLabel: "", excludeLabel: ""}
			if diff := cmp.Diff(want, n.Labels); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The loop registers the node while the phase waits: the watch tells at once.
func TestMarkWaitsForTheNode(t *testing.T) {
	w := running(t, "")
	r := Runner{Report: func(e Event) {
		if e.State == Waiting {
			go w.put(node(nil))
		}
	}}
	var changes []string
	report := r.Report
	r.Report = func(e Event) {
		report(e)
		if e.State == Changing {
			changes = append(changes, e.Text)
		}
	}
	if err := r.Run(t.Context(), []Step{{Name: "mark", Phase: w.mark()}}); err != nil {
		t.Fatal(err)
	}
	if len(changes) != 2 || changes[0] != "wait for the node node-1 to be registered" {
		t.Errorf("changed %q", changes)
	}
}

func TestMarkGivesUpOnANodeThatNeverComes(t *testing.T) {
	w := running(t, "")
	p := w.mark()
	err := outlasts(func(patience time.Duration) error {
		p.timeout = patience
		_, err := runSteps(t.Context(), Runner{}, Step{Name: "mark", Phase: p})
		return err
	}, "the cluster has no such node")
	wantError(t, err, fmt.Sprintf("the node node-1 has not been registered: gave up after %s: the cluster has no such node", p.timeout), "boot kubelet")
}

// Somebody else writes the node in between: it is read again, and their taint
// stays.
func TestMarkLosesNoUpdate(t *testing.T) {
	w := running(t, "")
	w.put(node(nil))
	other := corev1.Taint{Key: "other", Effect: corev1.TaintEffectNoExecute}
	once := true
	w.fail = func(r *http.Request) *apierrors.StatusError {
		if r.Method != http.MethodPatch || !once {
			return nil
		}
		once = false
		n := node(func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, other) })
		if err := w.tracker.Update(parse("/api/v1/nodes").gvr, n, ""); err != nil {
			t.Error(err)
		}
		return apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, "node-1", nil)
	}
	w.runPhase(w.mark())
	var n corev1.Node
	w.object("/api/v1/nodes/node-1", &n)
	if !slices.Contains(n.Spec.Taints, other) || len(n.Spec.Taints) != 3 {
		t.Errorf("taints %v", n.Spec.Taints)
	}
}
