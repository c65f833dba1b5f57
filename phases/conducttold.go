package phases

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"boot.internal/config"
	"boot.internal/hint"
)

// rotationOver is the stage that is left when all nodes are through all others.
const rotationOver RotationStage = "over"

// A ToldRotation is what the cluster is told of a rotation under way.
type ToldRotation struct {
	Rotation
	Stage  RotationStage // that has begun last; empty before the first
	Origin string        // the node that it was begun on
	data   map[string]string
}

// DecodeRotation returns what is rotated, of the data of the ConfigMap.
func DecodeRotation(data map[string]string) (Rotation, error) {
	var r Rotation
	if err := json.Unmarshal([]byte(data[config.RotationMapDocument]), &r); err != nil {
		return r, fmt.Errorf("read the ConfigMap %s: %w", config.RotationMap, err)
	}
	return r, nil
}

// AskRotation returns the rotation that is under way in a cluster; nil if there is
// none.
func AskRotation(ctx context.Context, client kubernetes.Interface) (*ToldRotation, error) {
	live, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, config.RotationMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ConfigMap %s: %w", config.RotationMap, err)
	}
	r, err := DecodeRotation(live.Data)
	if err != nil {
		return nil, hint.With(err, "delete it, if no node has been told of a rotation yet")
	}
	return &ToldRotation{r, RotationStage(live.Data[config.RotationMapStage]), live.Data[config.RotationMapOrigin], live.Data}, nil
}

// told is AskRotation of this cluster, with patience.
func (c conductor) told(ctx context.Context) (told *ToldRotation, err error) {
	err = c.call(ctx, func(ctx context.Context, client kubernetes.Interface) (err error) {
		told, err = AskRotation(ctx, client)
		return err
	})
	return told, err
}

// rank is the place of a stage in their order; that of none is before all others.
func rank(s RotationStage) int {
	return slices.Index([]RotationStage{RotationTrust, RotationIssue, RotationRenew, RotationDrop, rotationOver}, s)
}

// past says whether all nodes are through a stage.
func (t *ToldRotation) past(s RotationStage) bool { return t != nil && rank(t.Stage) > rank(s) }

// value is what an annotation of a node says of a stage.
func (t *ToldRotation) value(s RotationStage) string { return t.ID + "/" + string(s) }

// reached says whether a node has answered for a stage, or one after it.
func (t *ToldRotation) reached(n *corev1.Node, s RotationStage) bool {
	if t == nil {
		return false
	}
	stage, ok := strings.CutPrefix(n.Annotations[config.RotationDone], t.ID+"/")
	return ok && rank(RotationStage(stage)) >= rank(s)
}

// publish tells the cluster what is rotated.
func (c conductor) publish(ctx context.Context) ([]Change, error) {
	told, err := c.told(ctx)
	if told != nil || err != nil {
		return nil, err
	}
	return []Change{
		{"delete the Secret kube-system/" + certsName + ", if there is one: it has the old keys", c.deleteUploaded},
		{"let nodes read the ConfigMap kube-system/" + config.RotationMap, c.letNodesRead},
		{"create the ConfigMap kube-system/" + config.RotationMap, c.create},
	}, nil
}

func (c conductor) deleteUploaded(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		return gone(client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, certsName, metav1.DeleteOptions{}))
	})
}

// gone and there are what it means to delete and to create.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func there(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// letNodesRead gives nodes the right to read that one ConfigMap.
func (c conductor) letNodesRead(ctx context.Context) error {
	meta := metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: config.RotationMap}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{config.RotationMap}, Verbs: []string{"get"},
	}}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacGroup, Kind: "Role", Name: config.RotationMap},
		Subjects: []rbacv1.Subject{{APIGroup: rbacGroup, Kind: rbacv1.GroupKind, Name: nodesGroup}},
	}
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		rbac := client.RbacV1()
		if _, err := rbac.Roles(metav1.NamespaceSystem).Create(ctx, role, metav1.CreateOptions{FieldManager: fieldManager}); there(err) != nil {
			return err
		}
		_, err := rbac.RoleBindings(metav1.NamespaceSystem).Create(ctx, binding, metav1.CreateOptions{FieldManager: fieldManager})
		return there(err)
	})
}

// nodesGroup is the group of all nodes.
const nodesGroup = "system:nodes"

// create writes down for the cluster what is in the note. Whoever was faster has
// begun another rotation, which this run goes on with when it is run again.
func (c conductor) create(ctx context.Context) error {
	note, err := readRotationNote(c.State)
	if err != nil {
		return err
	}
	if note == nil {
		return fmt.Errorf("%s is gone", rotationNotePath(c.State))
	}
	text, err := json.Marshal(note.Rotation)
	if err != nil {
		return err
	}
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: config.RotationMap},
		Data:       map[string]string{config.RotationMapDocument: string(text), config.RotationMapOrigin: c.Node},
	}
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		_, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(ctx, m, metav1.CreateOptions{FieldManager: fieldManager})
		return there(err)
	})
}

// note writes further data of the ConfigMap.
func (c conductor) note(ctx context.Context, data map[string]string) error {
	patch, err := json.Marshal(object{"data": data})
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		_, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Patch(ctx, config.RotationMap, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
}
