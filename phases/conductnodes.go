package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"boot.internal/config"
	"boot.internal/hint"
)

// nodesInterval is how often the nodes are looked at while they are waited for: all
// of them are listed.
const nodesInterval = time.Second

// A selection says which nodes are meant.
type selection func(*corev1.Node) bool

func everybody(*corev1.Node) bool { return true }

func controlPlanes(n *corev1.Node) bool {
	_, ok := n.Labels[roleLabel]
	return ok
}

func workers(n *corev1.Node) bool { return !controlPlanes(n) }

// nodes are those of the cluster that take part, by name.
func (c conductor) nodes(ctx context.Context, meant selection) (all []corev1.Node, err error) {
	err = c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list the nodes: %w", err)
		}
		all = slices.DeleteFunc(list.Items, func(n corev1.Node) bool { return !meant(&n) || slices.Contains(c.Skip, n.Name) })
		return nil
	})
	return all, err
}

// nodesTo returns the phase that gets nodes to a stage: control planes one after the
// other, and workers, who serve nobody, at the same time.
func (c conductor) nodesTo(s RotationStage, meant selection) Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		told, err := c.told(ctx)
		if err != nil || told.past(s) {
			return nil, err
		}
		nodes, err := c.nodes(ctx, meant)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, n := range nodes {
			if !told.reached(&n, s) {
				names = append(names, n.Name)
			}
		}
		var changes []Change
		if told == nil || told.Stage != s {
			changes = append(changes, Change{"begin the stage " + string(s), func(ctx context.Context) error { return c.begin(ctx, s) }})
		}
		if s == RotationRenew || len(nodes) > 0 && workers(&nodes[0]) {
			return append(changes, c.together(s, meant, names)...), nil
		}
		for _, name := range names {
			changes = append(changes, c.together(s, func(n *corev1.Node) bool { return n.Name == name }, []string{name})...)
		}
		return changes, nil
	})
}

// begin notes a stage, so that whoever looks knows how far the rotation is.
func (c conductor) begin(ctx context.Context, s RotationStage) error {
	return c.note(ctx, map[string]string{config.RotationMapStage: string(s)})
}

// together returns the change that gets nodes to a stage at the same time, none if
// they are there. Nodes that join meanwhile are among those who are meant.
func (c conductor) together(s RotationStage, meant selection, names []string) []Change {
	if len(names) == 0 {
		return nil
	}
	return []Change{{"have " + few(names) + " " + aim(s), func(ctx context.Context) error {
		waiting(ctx, few(names))
		return c.bring(ctx, s, meant)
	}}}
}

// few names a few, and counts the others.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// bring tells nodes to get to a stage and waits until all have answered.
func (c conductor) bring(ctx context.Context, s RotationStage, meant selection) error {
	var said string
	err := untilEvery(ctx, nodesInterval, c.Timeout, func(limited context.Context) (bool, error) {
		err := c.bringOnce(limited, s, meant)
		if err == nil {
			return true, nil
		}
		if (limited.Err() == nil || said == "") && said != err.Error() {
			said = err.Error()
			because(ctx, said)
		}
		return false, err
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	return hint.With(err, "put that right and run the same command again: it goes on from here; with --skip-node NAME a node is left to you")
}

// bringOnce tells those who are not told yet. Its error names those who have not
// answered, and says why as far as they have.
func (c conductor) bringOnce(ctx context.Context, s RotationStage, meant selection) error {
	told, err := c.told(ctx)
	if err != nil {
		return err
	}
	if told == nil {
		return errNobodyTold
	}
	nodes, err := c.nodes(ctx, meant)
	if err != nil {
		return err
	}
	var left []error
	for _, n := range nodes {
		if told.reached(&n, s) {
			continue
		}
		if n.Annotations[config.RotationWanted] != told.value(s) {
			if err := c.tell(ctx, n.Name, object{config.RotationWanted: told.value(s), config.RotationTrouble: nil}); err != nil {
				return err
			}
		}
		left = append(left, fmt.Errorf("%s %s", n.Name, heldUp(&n, told.value(s))))
	}
	return errors.Join(left...)
}

// heldUp says why a node has not answered yet.
func heldUp(n *corev1.Node, value string) string {
	trouble, ok := strings.CutPrefix(n.Annotations[config.RotationTrouble], value+": ")
	switch {
	case !isReady(n.Status.Conditions):
		return "is not Ready"
	case ok:
		return "has trouble: " + trouble
	default:
		return "is at it"
	}
}

// tell puts annotations on a node; nil takes one off.
func (c conductor) tell(ctx context.Context, node string, annotations object) error {
	patch, err := json.Marshal(object{"metadata": object{"annotations": annotations}})
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		_, err := client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if gone(err) == nil { // a node that has left is none to wait for
			return nil
		}
		return err
	})
}
