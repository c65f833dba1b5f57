package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/config"
	"boot.internal/hint"
)

// An UpgradeNote is what a run of an upgrade leaves for the next one, should it be
// killed: by then neither the API server nor the loop may be there to be asked.
type UpgradeNote struct {
	Begun time.Time `json:"begun"`
	// From is the version that the cluster had.
	From string `json:"from"`
	// Documents are what the cluster stores.
	Documents config.SharedDocuments `json:"documents"`
	// Executable and Args are how the loop of this node is run.
	Executable string   `json:"executable"`
	Args       []string `json:"args"`
	// Certificates are the serial numbers, in hexadecimal, of those that are to be
	// renewed, by name.
	Certificates map[string]string `json:"certificates,omitempty"`
}

// noteLife is how long the run that a note is of may be gone on with. After that it
// begins anew, and so with another snapshot.
const noteLife = time.Hour

var errNotBegun = hint.With(errors.New("this run has not begun"), "skip the phase etcd-snapshot as well")

func notePath(state string) string { return filepath.Join(state, "upgrade.json") }

// ReadUpgradeNote returns the note of a run that has not ended, nil if there is
// none. State is the directory of what boot keeps for itself.
func ReadUpgradeNote(state string) (*UpgradeNote, error) {
	data, err := os.ReadFile(notePath(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := &UpgradeNote{}
	if err := json.Unmarshal(data, n); err != nil {
		return nil, hint.With(fmt.Errorf("read %s: %w", notePath(state), err), "remove it: the upgrade begins anew")
	}
	return n, nil
}

// A noting writes the note, if there is work.
type noting struct {
	note  UpgradeNote
	state string
	live  bool // the cluster itself has told what is in the note
	work  []Step
}

// begin is the phase that writes the note.
func (p noting) begin() Step {
	return Step{"begin", "Note what the cluster is, so that a run after one that was killed can go on", p}
}

// end is the phase after which there is none.
func (p noting) end() Step {
	return Step{"post-upgrade", "Forget what was noted", PlanFunc(p.forget)}
}

// Plan implements Phase. What the user has put right in the cluster since a run that
// failed is noted as well: the next may find nobody to ask.
func (p noting) Plan(ctx context.Context) ([]Change, error) {
	have, err := ReadUpgradeNote(p.state)
	if err != nil || have != nil && !p.live {
		return nil, err
	}
	if have != nil && time.Since(have.Begun) < noteLife {
		if have.Documents == p.note.Documents {
			return nil, nil
		}
		have.Documents = p.note.Documents
		return []Change{{"note in " + notePath(p.state) + " what the cluster stores by now", func(context.Context) error {
			return have.write(p.state)
		}}}, nil
	}
	if busy, err := pending(ctx, p.work); err != nil || !busy {
		return nil, err
	}
	return []Change{{"note in " + notePath(p.state) + " how the cluster was", func(context.Context) error {
		p.note.Begun = time.Now().UTC().Truncate(time.Second)
		return p.note.write(p.state)
	}}}, nil
}

func (n *UpgradeNote) write(state string) error {
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(notePath(state), append(data, '\n'), 0o600)
}

// forget plans the end of the note.
func (p noting) forget(context.Context) ([]Change, error) {
	path := notePath(p.state)
	if !exists(path) {
		return nil, nil
	}
	return []Change{{"remove " + path, func(context.Context) error { return os.Remove(path) }}}, nil
}

// pending says whether any of the steps has something to do.
func pending(ctx context.Context, steps []Step) (bool, error) {
	for _, s := range steps {
		changes, err := s.Plan(ctx)
		if err != nil || len(changes) > 0 {
			return len(changes) > 0, err
		}
	}
	return false, nil
}
