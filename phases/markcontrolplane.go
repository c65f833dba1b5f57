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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"boot.internal/hint"
)

// A markControlPlane labels and taints the node. The loop cannot: a node may
// not give itself these labels.
type markControlPlane struct {
	api     apiServer
	node    string
	taints  []corev1.Taint
	timeout time.Duration // for the node to be registered
}

// The labels of a control-plane node.
const (
	roleLabel    = "node-role.kubernetes.io/control-plane"
	excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers"
)

// Plan implements Phase.
func (p markControlPlane) Plan(ctx context.Context) ([]Change, error) {
	node, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	if node == nil {
		wait := Change{"wait for the node " + p.node + " to be registered", p.wait}
		return append([]Change{wait}, p.changes(&corev1.Node{})...), nil
	}
	return p.changes(node), nil
}

func (p markControlPlane) changes(node *corev1.Node) []Change {
	var missing []string
	for _, label := range []string{roleLabel, excludeLabel} {
		if v, ok := node.Labels[label]; !ok || v != "" {
			missing = append(missing, label)
		}
	}
	for _, taint := range p.missingTaints(node) {
		missing = append(missing, taint.ToString())
	}
	if len(missing) == 0 {
		return nil
	}
	return []Change{{"mark the node " + p.node + " with " + strings.Join(missing, ", "), p.mark}}
}

func (p markControlPlane) missingTaints(node *corev1.Node) []corev1.Taint {
	return slices.DeleteFunc(slices.Clone(p.taints), func(want corev1.Taint) bool {
		return slices.ContainsFunc(node.Spec.Taints, func(have corev1.Taint) bool {
			return have.MatchTaint(&want) && have.Value == want.Value
		})
	})
}

// mark writes labels and taints against the version they were decided on: the
// list of taints has other writers.
func (p markControlPlane) mark(ctx context.Context) error {
	return p.api.call(ctx, writeAgain, func(ctx context.Context) error {
		nodes, err := p.nodes()
		if err != nil {
			return err
		}
		obj, err := nodes.Get(ctx, p.node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		node, err := toNode(obj)
		if err != nil {
			return err
		}
		patch, err := p.patch(node)
		if err != nil {
			return err
		}
		_, err = nodes.Patch(ctx, p.node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		return err
	})
}

func (p markControlPlane) patch(node *corev1.Node) ([]byte, error) {
	return json.Marshal(object{
		"metadata": object{
			"resourceVersion": node.ResourceVersion,
			"labels":          object{roleLabel: "", excludeLabel: ""},
		},
		"spec": object{"taints": p.taintsOf(node)},
	})
}

// taintsOf is what the node's taints have to be: ours replace those of the same
// key and effect.
func (p markControlPlane) taintsOf(node *corev1.Node) []corev1.Taint {
	others := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(have corev1.Taint) bool {
		return slices.ContainsFunc(p.taints, func(want corev1.Taint) bool { return have.MatchTaint(&want) })
	})
	return append(others, p.taints...)
}

func (p markControlPlane) nodes() (dynamic.ResourceInterface, error) {
	return p.api.resource(corev1.SchemeGroupVersion.WithKind("Node"), "")
}

func (p markControlPlane) read(ctx context.Context) (*corev1.Node, error) {
	want := &unstructured.Unstructured{}
	want.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	want.SetName(p.node)
	live, err := p.api.get(ctx, want)
	if live == nil || err != nil {
		return nil, err
	}
	return toNode(live)
}

func toNode(obj *unstructured.Unstructured) (*corev1.Node, error) {
	var node corev1.Node
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &node); err != nil {
		return nil, fmt.Errorf("decode %s: %w", describe(obj), err)
	}
	return &node, nil
}

// wait watches until the loop has registered the node.
func (p markControlPlane) wait(ctx context.Context) error {
	waiting(ctx, "the node "+p.node)
	err := until(ctx, p.timeout, func(ctx context.Context) (bool, error) {
		err := p.watch(ctx)
		return err == nil || hopeless(err), err
	})
	if err != nil {
		return hint.With(fmt.Errorf("the node %s has not been registered: %w", p.node, err),
			"the log of 'boot kubelet' says why it does not register")
	}
	return nil
}

var errNoNode = errors.New("the cluster has no such node")

// watch lists once and then follows events until there is a node.
func (p markControlPlane) watch(ctx context.Context) error {
	nodes, err := p.nodes()
	if err != nil {
		return err
	}
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, p.node).String()}
	list, err := nodes.List(ctx, only)
	if err != nil || len(list.Items) > 0 {
		return err
	}
	only.ResourceVersion = list.GetResourceVersion()
	events, err := nodes.Watch(ctx, only)
	if err != nil {
		return err
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		switch e.Type {
		case watch.Added, watch.Modified:
			return nil
		case watch.Error:
			return apierrors.FromObject(e.Object)
		}
	}
	return errNoNode
}
