package checksum

import (
	"encoding/json"
	"errors"
	"fmt"

	"boot.internal/hint"
)

// A Sealed is what counts in files since Kubernetes 1.37: a text, so that kubelets that
// do not know all of its fields can tell all the same whether it is whole. Beside it is
// what kubelets before know.
type Sealed struct {
	Data         string   `json:"data"`
	DataChecksum Checksum `json:"dataChecksum"`
}

// ErrCorrupt reports a file that is not as a kubelet wrote it.
var ErrCorrupt = errors.New("checkpoint is corrupted")

// Seal returns content as a text with its checksum.
func Seal(content any) (Sealed, error) {
	text, err := json.Marshal(content)
	return Sealed{string(text), Of(string(text))}, err
}

// Open reads content out of the text. There is none in a file of before 1.37.
func (s Sealed) Open(content any) (there bool, err error) {
	switch {
	case s == Sealed{}:
		return false, nil
	case s.DataChecksum != Of(s.Data):
		return true, ErrCorrupt
	}
	return true, json.Unmarshal([]byte(s.Data), content)
}

// Refuse returns the error of a file that a kubelet cannot go on from.
func Refuse(path string, err error) error {
	return hint.With(fmt.Errorf("could not restore state from checkpoint: %w", err),
		"drain the node, remove "+path+", and start boot again; what runs keeps what it has until then")
}
