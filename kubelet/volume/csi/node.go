package csi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// nodeIDs is the annotation that holds what each driver calls this node.
const nodeIDs = "csi.volume.kubernetes.io/nodeid"

// errNoAPI says that what a volume needs of the API cannot be had.
var errNoAPI = errors.New("there is no API server yet")

// nodeTimeout bounds a change to Node and CSINode.
const nodeTimeout = 30 * time.Second

func (d *Drivers) api() (kubernetes.Interface, error) {
	if api := d.o.Client(); api != nil {
		return api, nil
	}
	return nil, errNoAPI
}

// Init makes the CSINode of this node, which schedulers and provisioners look
// for even where there is no driver. It tries until ctx ends.
func (d *Drivers) Init(ctx context.Context) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		if err := d.changeCSINode(ctx, func(*storagev1.CSINode) bool { return false }); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// announce says in the API what a driver calls this node, where the node is to
// it, and how many volumes it takes.
func (d *Drivers) announce(ctx context.Context, name string, info *csi.NodeGetInfoResponse) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	topology := info.GetAccessibleTopology().GetSegments()
	if err := d.changeNode(ctx, topology, func(ids map[string]string) { ids[name] = info.NodeId }); err != nil {
		return fmt.Errorf("error updating Node object with CSI driver node info: %w", err)
	}
	return d.enter(ctx, name, info)
}

// enter says in the CSINode what a driver says of itself.
func (d *Drivers) enter(ctx context.Context, name string, info *csi.NodeGetInfoResponse) error {
	entry := storagev1.CSINodeDriver{
		Name: name, NodeID: info.NodeId, TopologyKeys: slices.Sorted(maps.Keys(info.GetAccessibleTopology().GetSegments())),
	}
	if n := info.MaxVolumesPerNode; n > 0 {
		entry.Allocatable = &storagev1.VolumeNodeResources{Count: new(int32(min(n, math.MaxInt32)))}
	}
	err := d.changeCSINode(ctx, func(n *storagev1.CSINode) bool {
		i := slices.IndexFunc(n.Spec.Drivers, func(e storagev1.CSINodeDriver) bool { return e.Name == name })
		if i >= 0 && sameDriver(n.Spec.Drivers[i], entry) {
			return false
		}
		if i >= 0 {
			n.Spec.Drivers = slices.Delete(n.Spec.Drivers, i, i+1)
		}
		n.Spec.Drivers = append(n.Spec.Drivers, entry)
		return true
	})
	if err != nil {
		return fmt.Errorf("error updating CSINode object with CSI driver node info: %w", err)
	}
	return nil
}

func sameDriver(a, b storagev1.CSINodeDriver) bool {
	return a.NodeID == b.NodeID && slices.Equal(a.TopologyKeys, b.TopologyKeys) && limit(a) == limit(b)
}

// limit returns how many volumes a driver takes; 0 is any number.
func limit(e storagev1.CSINodeDriver) int32 {
	if e.Allocatable == nil || e.Allocatable.Count == nil {
		return 0
	}
	return *e.Allocatable.Count
}

// retract takes a driver out of the API.
func (d *Drivers) retract(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	err := d.changeCSINode(ctx, func(n *storagev1.CSINode) bool {
		before := len(n.Spec.Drivers)
		n.Spec.Drivers = slices.DeleteFunc(n.Spec.Drivers, func(e storagev1.CSINodeDriver) bool { return e.Name == name })
		return len(n.Spec.Drivers) != before
	})
	return errors.Join(err, d.changeNode(ctx, nil, func(ids map[string]string) { delete(ids, name) }))
}

// changeNode changes the annotation of the Node, and adds labels of topology:
// another value of one of them is an error.
func (d *Drivers) changeNode(ctx context.Context, topology map[string]string, change func(ids map[string]string)) error {
	d.nodeMu.Lock()
	defer d.nodeMu.Unlock()
	api, err := d.api()
	if err != nil {
		return err
	}
	n, err := api.CoreV1().Nodes().Get(ctx, d.o.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	meta := map[string]any{}
	for key, value := range topology {
		if have, ok := n.Labels[key]; ok && have != value {
			return fmt.Errorf("detected topology value collision: driver reported %q:%q but existing label is %q:%q", key, value, key, have)
		} else if !ok {
			meta["labels"] = topology
		}
	}
	ids := map[string]string{}
	if text := n.Annotations[nodeIDs]; text != "" {
		if err := json.Unmarshal([]byte(text), &ids); err != nil {
			return fmt.Errorf("read annotation %s: %w", nodeIDs, err)
		}
	}
	before := maps.Clone(ids)
	if change(ids); !maps.Equal(before, ids) {
		meta["annotations"] = map[string]any{nodeIDs: annotation(ids)}
	}
	if len(meta) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	_, err = api.CoreV1().Nodes().Patch(ctx, d.o.Node, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// annotation returns the value of the annotation, nil for none.
func annotation(ids map[string]string) any {
	if len(ids) == 0 {
		return nil
	}
	text, err := json.Marshal(ids)
	if err != nil { // strings alone cannot fail
		return nil
	}
	return string(text)
}

// changeCSINode changes the CSINode, which it makes if there is none, and anew
// if it belongs to a Node of the past.
func (d *Drivers) changeCSINode(ctx context.Context, change func(*storagev1.CSINode) bool) error {
	d.nodeMu.Lock()
	defer d.nodeMu.Unlock()
	api, err := d.api()
	if err != nil {
		return err
	}
	owner, err := api.CoreV1().Nodes().Get(ctx, d.o.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	all := api.StorageV1().CSINodes()
	n, err := all.Get(ctx, d.o.Node, metav1.GetOptions{})
	if err == nil && !owns(owner, n) {
		if err := all.Delete(ctx, d.o.Node, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(n.UID))}); err != nil {
			return fmt.Errorf("delete CSINode of an earlier node: %w", err)
		}
		err = apierrors.NewNotFound(storagev1.Resource("csinodes"), d.o.Node)
	}
	if apierrors.IsNotFound(err) {
		n, err = all.Create(ctx, newCSINode(owner), metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	if !change(n) {
		return nil
	}
	_, err = all.Update(ctx, n, metav1.UpdateOptions{})
	return err
}

func owns(owner *v1.Node, n *storagev1.CSINode) bool {
	return slices.ContainsFunc(n.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind == "Node" && r.Name == owner.Name && r.UID == owner.UID
	})
}

func newCSINode(owner *v1.Node) *storagev1.CSINode {
	return &storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{
			Name:            owner.Name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: owner.Name, UID: owner.UID}},
		},
		Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{}},
	}
}
