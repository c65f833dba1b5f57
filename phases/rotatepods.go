package phases

import (
	"slices"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// restarts returns the phases that replace the pods of components which have not
// read what there is now.
func (r rotation) restarts(components ...string) []Step {
	return r.rollouts("restart/", "Replace the pod of ", components, func(component string, manifest []byte) ([]byte, error) {
		want, err := hashFiles(r.renew.readOnce(component))
		if err != nil {
			return nil, err
		}
		if component == config.ComponentControllerManager {
			if manifest, err = r.signsWith(manifest); err != nil {
				return nil, err
			}
		}
		has, err := templates.HashOf(manifest)
		if err != nil || has == want {
			return manifest, err
		}
		return templates.WithHash(manifest, want)
	})
}

// reconnects returns the phases that replace those who notice new certificates of
// theirs, but not for connections that they have: those of the API server to nodes
// and to other API servers last for minutes, and whoever drops the old authority
// refuses what comes over them.
func (r rotation) reconnects() []Step {
	_, nodes := r.turn("ca")
	_, servers := r.turn("front-proxy-ca")
	if !nodes && !servers {
		return nil
	}
	return r.rollouts("reconnect/", "Have its connections made anew: ", []string{config.ComponentAPIServer}, func(_ string, manifest []byte) ([]byte, error) {
		return templates.WithAnnotation(manifest, templates.IssuedAnnotation, r.Rotation.ID)
	})
}

// rollouts returns a phase for each component that has a pod on this node.
func (r rotation) rollouts(group, desc string, components []string, next func(component string, manifest []byte) ([]byte, error)) []Step {
	var steps []Step
	for _, component := range components {
		o := r.Rollout
		o.beside = r.beside(component)
		phase := Rollout(o, component, func(current []byte) ([]byte, error) { return next(component, current) })
		steps = append(steps, Step{group + component, desc + component, phase})
	}
	return slices.DeleteFunc(steps, func(Step) bool { return len(r.turns) == 0 })
}

// signsWith has the controller manager sign with what there is to sign with now,
// unless it signs with something of the user's.
func (r rotation) signsWith(manifest []byte) ([]byte, error) {
	path, both := certs.SigningCert(r.Places.PKI), []string{certs.Tree(r.Places.PKI).CA.Cert, certs.SigningPath(r.Places.PKI)}
	return templates.WithSigningCert(manifest, both, path)
}
