package phases

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
)

// known refuses to rotate what this node does not have.
func (r rotation) known(context.Context) ([]Change, error) {
	for _, t := range r.turns {
		trusted, err := r.bundle(t)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(trusted, t.Old.Equal) && !slices.ContainsFunc(trusted, t.New.Equal) {
			return nil, hint.With(fmt.Errorf("%s holds another authority than the one that is rotated", t.Files(r.Places).Cert),
				"compare it with that of another node; 'boot certs check' lists what this one has")
		}
	}
	return nil, nil
}

// trusted refuses to issue what this node itself would not trust.
func (r rotation) trusted(context.Context) ([]Change, error) {
	for _, t := range r.turns {
		trusted, err := r.bundle(t)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(trusted, t.New.Equal) {
			return nil, fmt.Errorf("%s does not hold the new authority: this node has not come to the stage %q yet", t.Files(r.Places).Cert, RotationTrust)
		}
	}
	return nil, nil
}

func (r rotation) bundle(t certs.Turn) ([]*x509.Certificate, error) {
	return certs.ReadBundle(t.Files(r.Places).Cert)
}

// complete refuses to drop an authority by which this node itself is still known.
func (r rotation) complete(ctx context.Context) ([]Change, error) {
	if _, err := r.trusted(ctx); err != nil {
		return nil, err
	}
	for _, h := range certs.Hold(r.Places) {
		t, rotated := r.turn(h.CA)
		if !rotated || h.Certificate == nil || t.Signs(h.Certificate) {
			continue
		}
		return nil, hint.With(fmt.Errorf("%s is not signed by the new authority %s yet", h.Path, t.Name),
			"have it signed by the new one first: 'boot certs renew "+h.Name+"' where the authority's key is")
	}
	return nil, nil
}

// always and bundles say of which files something holds.
func always(certs.Trusting) bool    { return true }
func bundles(t certs.Trusting) bool { return t.Bundle }

// retrust returns the phase that changes whom files trust. Copies are kept of those
// that pods of the components read at their start: these may have to come back.
func (r rotation) retrust(change func(certs.Turn) certs.Retrust, which func(certs.Trusting) bool, components ...string) Phase {
	return PlanFunc(func(context.Context) ([]Change, error) {
		var changes []Change
		for _, file := range r.Places.Trusting() {
			turn, rotated := r.turn(file.CA)
			if !rotated || !which(file) {
				continue
			}
			w, err := file.Plan(change(turn))
			if err != nil {
				return nil, err
			}
			if w == nil {
				continue
			}
			kept, err := r.beside(components...).keep(file.Path)
			if err != nil {
				return nil, err
			}
			changes = append(append(changes, kept...), written(*w))
		}
		return changes, nil
	})
}

func written(w certs.Write) Change {
	return Change{"write " + w.Path, func(context.Context) error { return w.Do() }}
}

// signing keeps the file that the controller manager signs with.
func (r rotation) signing(context.Context) ([]Change, error) {
	if _, rotated := r.turn("ca"); !rotated {
		return nil, nil
	}
	writes, err := certs.PlanSigning(r.Places.PKI)
	var changes []Change
	for _, w := range writes {
		changes = append(changes, written(w))
	}
	return changes, err
}

// keys puts the keys of the new authorities in place. Where an authority's key is
// not, nothing is signed.
func (r rotation) keys(context.Context) ([]Change, error) {
	var changes []Change
	for _, t := range r.turns {
		if !r.has(t.Files(r.Places).Key) {
			continue
		}
		writes, err := t.PlanKey(r.Places, r.Keys[t.Name], time.Now())
		if err != nil {
			return nil, err
		}
		for _, w := range writes {
			changes = append(changes, written(w))
		}
	}
	return changes, nil
}

// own are the certificates that this node signs itself. Those that the loop asks the
// cluster for are not among them.
func (r rotation) own() []certs.Held {
	return slices.DeleteFunc(certs.Hold(r.Places), func(h certs.Held) bool {
		_, rotated := r.turn(h.CA)
		return !rotated || h.Rotates || h.External
	})
}

// reissue renews a certificate that is not of the new authority.
func (r rotation) reissue(name string) ([]Change, error) {
	held, err := certs.Find(certs.Hold(r.Places), []string{name})
	if err != nil {
		return nil, err
	}
	h := held[0]
	turn, _ := r.turn(h.CA)
	if h.Err == nil && turn.Signs(h.Certificate) {
		return nil, nil
	}
	if h.Certificate == nil {
		return nil, h.Renewable(time.Now())
	}
	kept, err := r.beside(config.ComponentControllerManager, config.ComponentScheduler).keep(h.Path)
	return append(kept, Change{"have " + h.Path + " signed by the new authority", func(context.Context) error {
		return h.Renew(0, time.Now())
	}}), err
}

// beside are the files of those of the components that have a pod here.
func (r rotation) beside(components ...string) *asides {
	a := &asides{dir: filepath.Join(r.Rollout.State, "rollout")}
	for _, component := range components {
		if r.has(r.manifest(component)) {
			a.paths = append(a.paths, r.renew.readOnce(component)...)
		}
	}
	return a
}

func (r rotation) manifest(component string) string {
	return filepath.Join(r.Rollout.Manifests, component+".yaml")
}

// clean removes what nobody signs with any more.
func (r rotation) clean(context.Context) ([]Change, error) {
	path := certs.SigningPath(r.Places.PKI)
	if certs.SigningCert(r.Places.PKI) == path || !r.has(path) {
		return nil, nil
	}
	return []Change{{"remove " + path, func(context.Context) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}}}, nil
}
