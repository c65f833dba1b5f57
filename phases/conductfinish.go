package phases

import (
	"context"
	"errors"
	"io/fs"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/config"
)

// finish removes what only the rotation needed. That it is over is noted first, and
// goes last: until then, a run that goes on finds out that only this is left.
func (c conductor) finish(ctx context.Context) ([]Change, error) {
	told, err := c.told(ctx)
	if told == nil || err != nil {
		return nil, err
	}
	var changes []Change
	if told.Stage != rotationOver {
		changes = append(changes, Change{"note that all nodes are through", func(ctx context.Context) error { return c.begin(ctx, rotationOver) }})
	}
	return append(changes,
		Change{"take the annotations of the rotation off the nodes", c.unannotate},
		Change{"remove " + rotationNotePath(c.State) + ", if it is there", func(context.Context) error { return c.forget(told) }},
		Change{"delete the ConfigMap kube-system/" + config.RotationMap + ", and the right to read it", c.delete},
	), nil
}

// annotated says whether a node still has annotations of a rotation.
func annotated(n *corev1.Node) bool {
	for _, key := range rotationAnnotations() {
		if _, ok := n.Annotations[key]; ok {
			return true
		}
	}
	return false
}

func rotationAnnotations() []string {
	return []string{config.RotationWanted, config.RotationDone, config.RotationTrouble, config.RotationRecipient}
}

func (c conductor) unannotate(ctx context.Context) error {
	c.Skip = nil // what a skipped node has is of a run before
	nodes, err := c.nodes(ctx, annotated)
	if err != nil {
		return err
	}
	none := object{}
	for _, key := range rotationAnnotations() {
		none[key] = nil
	}
	for _, n := range nodes {
		if err := c.tell(ctx, n.Name, none); err != nil {
			return err
		}
	}
	return nil
}

// forget removes this node's note, if it is of this rotation.
func (c conductor) forget(told *ToldRotation) error {
	note, err := readRotationNote(c.State)
	if note == nil || err != nil || note.Rotation.ID != told.ID {
		return err
	}
	if err := os.Remove(rotationNotePath(c.State)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c conductor) delete(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		const name, namespace = config.RotationMap, metav1.NamespaceSystem
		rbac := client.RbacV1()
		if err := gone(rbac.RoleBindings(namespace).Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			return err
		}
		if err := gone(rbac.Roles(namespace).Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			return err
		}
		return gone(client.CoreV1().ConfigMaps(namespace).Delete(ctx, name, metav1.DeleteOptions{}))
	})
}
