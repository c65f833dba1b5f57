package phases

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// RenewOptions are the values that certificates of a node are renewed with.
type RenewOptions struct {
	Places certs.Places
	// Held are those to renew, as they were found: one that is another by the time
	// its phase plans has been renewed. All have to be renewable here.
	Held []certs.Held
	// Life is how long the new ones live; 0: as long as those before were made for.
	Life    time.Duration
	Rollout RolloutOptions // how pods are replaced that only read them at their start
}

// renewComponents are those that read certificates, in the order in which their
// pods are replaced.
func renewComponents() []string {
	return []string{
		config.ComponentEtcd, config.ComponentAPIServer, config.ComponentControllerManager, config.ComponentScheduler, config.ComponentProxy,
	}
}

// Renew returns the phases that renew certificates and have them used. Most are
// noticed by those who use them, which is waited for; pods that only read theirs at
// their start are replaced, one at a time, and where one does not become healthy,
// manifest and certificate come back.
//
// They ask neither a configuration nor the API server: both may be out of reach.
func Renew(o RenewOptions) []Step {
	var steps []Step
	for _, h := range o.Held {
		steps = append(steps, Step{"renew/" + h.Name, "Renew the certificate " + h.Name, PlanFunc(func(context.Context) ([]Change, error) {
			return o.plan(h)
		})})
	}
	return slices.Concat(steps, o.uses(), o.restarts())
}

// plan renews one certificate, unless that is done.
func (o RenewOptions) plan(h certs.Held) ([]Change, error) {
	now, err := certs.Find(certs.Hold(o.Places), []string{h.Name})
	if err != nil {
		return nil, err
	}
	if c := now[0].Certificate; now[0].Err == nil && h.Certificate != nil && !c.Equal(h.Certificate) {
		return nil, nil
	}
	if err := h.Renewable(time.Now()); err != nil {
		return nil, err
	}
	kept, err := o.beside(renewComponents()...).keep(h.Path)
	end := h.Certificate.NotAfter.UTC().Format(time.DateTime)
	return append(kept, Change{"renew " + h.Path + ", which ends on " + end, func(context.Context) error {
		return h.Renew(o.Life, time.Now())
	}}), err
}

// restarts returns the phases that replace pods which would not notice.
func (o RenewOptions) restarts() []Step {
	var steps []Step
	for _, component := range renewComponents() {
		o := o
		o.Rollout.beside = o.beside(component)
		before := o.hashOf(component)
		phase := Rollout(o.Rollout, component, func(current []byte) ([]byte, error) { return o.rehash(component, current, before) })
		steps = append(steps, Step{"restart/" + component, "Replace the pod of " + component + " if it would not notice", phase})
	}
	return steps
}

// rehash puts the hash of what a component would read now into its manifest. One
// without a hash, such as kubeadm's, gets it once something has changed since
// before: that it has none is no reason to replace the pod.
func (o RenewOptions) rehash(component string, manifest []byte, before string) ([]byte, error) {
	has, err := templates.HashOf(manifest)
	if err != nil {
		return nil, err
	}
	want, err := hashFiles(o.readOnce(component))
	if err != nil || has == want || has == "" && want == before {
		return manifest, err
	}
	return templates.WithHash(manifest, want)
}

// hashOf returns the hash of what a component would read now, empty if that cannot
// be told.
func (o RenewOptions) hashOf(component string) string {
	hash, err := hashFiles(o.readOnce(component))
	if err != nil {
		return ""
	}
	return hash
}

// beside are those of the files of components whose old state may have to come
// back.
func (o RenewOptions) beside(components ...string) *asides {
	a := &asides{dir: filepath.Join(o.Rollout.State, "rollout")}
	for _, component := range components {
		for _, path := range o.readOnce(component) {
			if slices.ContainsFunc(o.Held, func(h certs.Held) bool { return h.Path == path }) {
				a.paths = append(a.paths, path)
			}
		}
	}
	return a
}

// readOnce are the files that a component reads at its start and then never again.
func (o RenewOptions) readOnce(component string) []string {
	cfg := &config.Init{}
	cfg.Cluster.CertificatesDir = o.Places.PKI
	// Whose etcd it is can be told by the authority that the API server expects there.
	if pod, err := readPod(filepath.Join(o.Rollout.Manifests, config.ComponentAPIServer+".yaml")); err == nil && pod != nil {
		if ca := flagOf(pod, "etcd-cafile"); ca != certs.Tree(o.Places.PKI).EtcdCA.Cert {
			cfg.Cluster.Etcd.External = &config.ExternalEtcd{CAFile: ca}
		}
	}
	files := templates.ReadOnce(cfg, component)
	for i, path := range files {
		if filepath.Dir(path) == DefaultDirs().Kubernetes {
			files[i] = filepath.Join(o.Places.Kubernetes, filepath.Base(path))
		}
	}
	return files
}
