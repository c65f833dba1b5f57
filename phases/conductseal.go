package phases

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
)

// RecipientPath is the key by which a control plane is sent secrets.
func RecipientPath(state string) string { return filepath.Join(state, "ca-rotation-recipient.key") }

// ForgetRecipient removes that key, if it is there.
func ForgetRecipient(state string) error {
	if err := os.Remove(RecipientPath(state)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sealedAbout is what is bound to what is sealed: whose it is, and of which rotation.
func sealedAbout(r Rotation, node string) []byte { return []byte("ca-rotation/" + r.ID + "/" + node) }

// OpenRotationKeys returns the keys of the new authorities by name, in PEM, that a
// control plane was sent in the data of the ConfigMap.
func OpenRotationKeys(state, node string, r Rotation, data map[string]string) (map[string][]byte, error) {
	_, text, ok := strings.Cut(data[config.RotationMapSealed+node], ".")
	if !ok {
		return nil, errors.New("this node has not been sent the keys of the new authorities")
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("read what this node was sent: %w", err)
	}
	plain, err := certs.Open(RecipientPath(state), sealed, sealedAbout(r, node))
	if err != nil {
		return nil, err
	}
	var keys map[string][]byte
	if json.Unmarshal(plain, &keys) != nil { // its error might quote them
		return nil, errors.New("what this node was sent are no keys")
	}
	return keys, nil
}

// seal hands the new keys to the control planes that have none for themselves.
func (c conductor) seal(ctx context.Context) ([]Change, error) {
	told, err := c.told(ctx)
	if err != nil || told.past(RotationIssue) {
		return nil, err
	}
	nodes, err := c.nodes(ctx, controlPlanes)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, n := range nodes {
		if told == nil || !told.sealedFor(&n) {
			changes = append(changes, Change{"seal the new keys for " + n.Name, func(ctx context.Context) error { return c.sealFor(ctx, n.Name) }})
		}
	}
	return changes, nil
}

// sealedFor says whether a node can read what is sealed for it.
func (t *ToldRotation) sealedFor(n *corev1.Node) bool {
	recipient, _, ok := strings.Cut(t.data[config.RotationMapSealed+n.Name], ".")
	return ok && recipient == n.Annotations[config.RotationRecipient]
}

// sealFor writes what only one node can read. One that has joined since the others
// were told to trust is told first.
func (c conductor) sealFor(ctx context.Context, node string) error {
	only := func(n *corev1.Node) bool { return n.Name == node }
	if err := c.bring(ctx, RotationTrust, only); err != nil {
		return err
	}
	told, err := c.told(ctx)
	if err != nil {
		return err
	}
	if told == nil {
		return errNobodyTold
	}
	note, err := c.own(told)
	if err != nil {
		return err
	}
	nodes, err := c.nodes(ctx, only)
	if err != nil {
		return err
	}
	if len(nodes) == 0 { // it has left
		return nil
	}
	recipient := nodes[0].Annotations[config.RotationRecipient]
	public, err := base64.StdEncoding.DecodeString(recipient)
	if err != nil || len(public) == 0 {
		return fmt.Errorf("%s has not said by which key it can be sent secrets", node)
	}
	plain, err := json.Marshal(note.Keys)
	if err != nil {
		return err
	}
	sealed, err := certs.Seal(public, plain, sealedAbout(told.Rotation, node))
	if err != nil {
		return err
	}
	return c.note(ctx, map[string]string{config.RotationMapSealed + node: recipient + "." + base64.StdEncoding.EncodeToString(sealed)})
}

// own returns the note of the rotation under way, or why there is none here.
func (c conductor) own(told *ToldRotation) (*rotationNote, error) {
	note, err := readRotationNote(c.State)
	if err != nil {
		return nil, err
	}
	if note == nil || note.Rotation.ID != told.ID {
		return nil, hint.With(fmt.Errorf("the new keys are on %s, where the rotation was begun, and not here", told.Origin),
			"run the command there; if that node is lost, 'kubectl -n kube-system delete configmap "+config.RotationMap+"' and begin anew")
	}
	return note, nil
}
