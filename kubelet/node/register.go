package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Labels of old that some still select by.
const (
	labelBetaOS   = "beta.kubernetes.io/os"
	labelBetaArch = "beta.kubernetes.io/arch"
)

// attachAnnotation says that the attach-detach controller, not the node,
// attaches volumes.
const attachAnnotation = "volumes.kubernetes.io/controller-managed-attach-detach"

// ensure sees to it that there is a Node object.
func (k *Keeper) ensure(ctx context.Context, api corev1.NodeInterface) error {
	k.mu.Lock()
	known, doubted := k.current != nil, k.doubted
	k.mu.Unlock()
	if doubted {
		return k.verify(ctx, api)
	}
	switch {
	case known:
		return nil
	case k.o.NoRegister:
		return k.takeOver(ctx, api)
	}
	return k.register(ctx, api)
}

// verify asks whether the Node object is still there and registers if not.
func (k *Keeper) verify(ctx context.Context, api corev1.NodeInterface) error {
	n, err := api.Get(ctx, k.o.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		k.mu.Lock()
		k.current, k.doubted = nil, false
		k.mu.Unlock()
		k.tell()
		if k.o.NoRegister {
			return fmt.Errorf("get node: %w", err)
		}
		k.o.Log.Warn("node was deleted, registering again")
		return k.register(ctx, api)
	case err != nil:
		return fmt.Errorf("get node: %w", err)
	}
	k.mu.Lock()
	k.doubted = false
	k.mu.Unlock()
	k.seen(n)
	return nil
}

// register creates the Node object, or takes over the one there is.
func (k *Keeper) register(ctx context.Context, api corev1.NodeInterface) error {
	now := time.Now()
	first := k.initial(now)
	n, err := api.Create(ctx, first, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.IsForbidden(err): // it may be there and not ours to create
		if taken := k.takeOver(ctx, api); taken == nil || apierrors.IsAlreadyExists(err) {
			return taken
		}
		return fmt.Errorf("register node: %w", err)
	case err != nil:
		return fmt.Errorf("register node: %w", err)
	}
	k.reported = now
	k.o.Log.Info("registered node", slog.String("uid", string(n.UID)))
	k.found(n)
	k.tellChanges(nil, first.Status.Conditions)
	return nil
}

// found starts what needs a Node object.
func (k *Keeper) found(n *v1.Node) {
	k.seen(n)
	select {
	case <-k.exists:
	default:
		close(k.exists)
	}
}

// initial returns the Node object as it is registered, status and all.
func (k *Keeper) initial(now time.Time) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: k.o.Name, Labels: k.ownLabels(),
		Annotations: k.ownAnnotations(),
	}}
	maps.DeleteFunc(n.Annotations, func(_, value string) bool { return value == "" })
	maps.Copy(n.Labels, k.o.Labels)
	n.Spec.Taints = k.taints()
	n.Spec.ProviderID = k.o.ProviderID
	n.Status = k.status(n.Status, now)
	return n
}

// ownLabels are those that say what the machine is, and are put right at each
// start.
func (k *Keeper) ownLabels() map[string]string {
	labels := map[string]string{v1.LabelHostname: k.o.Hostname, labelBetaOS: runtime.GOOS, labelBetaArch: runtime.GOARCH}
	maps.Copy(labels, machineLabels())
	for _, key := range reconciled() {
		if value, ok := k.o.Labels[key]; ok {
			labels[key] = value
		}
	}
	return labels
}

// machineLabels are those that are put right whenever they are found changed: by
// them pods are kept off machines that cannot run them.
func machineLabels() map[string]string {
	return map[string]string{v1.LabelOSStable: runtime.GOOS, v1.LabelArchStable: runtime.GOARCH}
}

// reconciled are the labels that say where the machine is: if the user gives
// them, they are put right at each start.
func reconciled() []string {
	return []string{
		v1.LabelHostname, v1.LabelOSStable, v1.LabelArchStable, labelBetaOS, labelBetaArch,
		v1.LabelTopologyZone, v1.LabelTopologyRegion, v1.LabelFailureDomainBetaZone, v1.LabelFailureDomainBetaRegion,
		v1.LabelInstanceTypeStable, v1.LabelInstanceType,
	}
}

// ownAnnotations are put right at each start, too; one that is empty is to go.
func (k *Keeper) ownAnnotations() map[string]string {
	attach := "true"
	if k.o.NodeAttaches {
		attach = ""
	}
	own := map[string]string{attachAnnotation: attach, annotationProvidedIP: k.providedIP()}
	maps.Copy(own, k.o.Annotations)
	return own
}

// takeOver goes on with the Node object of an earlier start. What users changed
// in it since stays; taints and labels are given at registration alone.
func (k *Keeper) takeOver(ctx context.Context, api corev1.NodeInterface) error {
	n, err := api.Get(ctx, k.o.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get node: %w", err)
	}
	if patch := k.metaPatch(n); patch != nil {
		if n, err = api.Patch(ctx, k.o.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("put labels of node right: %w", err)
		}
	}
	k.found(n)
	return nil
}

// metaPatch returns what is missing in the metadata of an old Node object, nil
// if nothing is.
func (k *Keeper) metaPatch(n *v1.Node) []byte {
	labels := k.ownLabels()
	maps.DeleteFunc(labels, func(key, value string) bool { return n.Labels[key] == value })
	meta := map[string]any{}
	if len(labels) > 0 {
		meta["labels"] = labels
	}
	annotations := map[string]any{}
	for key, want := range k.ownAnnotations() {
		have, ok := n.Annotations[key]
		switch {
		case want == "" && ok:
			annotations[key] = nil // removes it
		case want != have:
			annotations[key] = want
		}
	}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
	if len(meta) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil { // strings alone cannot fail
		return nil
	}
	return patch
}
