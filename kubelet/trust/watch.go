package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	clientv1 "k8s.io/client-go/kubernetes/typed/certificates/v1"
	clientv1beta1 "k8s.io/client-go/kubernetes/typed/certificates/v1beta1"

	"boot.internal/backoff"
	"boot.internal/kubelet/follow"
)

// A Client is the part of the API that a Store reads; a clientset is one.
type Client interface {
	Discovery() discovery.DiscoveryInterfaces
	CertificatesV1() clientv1.CertificatesV1Interface
	CertificatesV1beta1() clientv1beta1.CertificatesV1beta1Interface
}

// errNotServed is what there is to say of a cluster without the API.
var errNotServed = errors.New("the API server has no ClusterTrustBundles")

// again is how long a server is left alone that has no bundles: it may be
// replaced by one that does.
const again = 10 * time.Minute

// Run follows the bundles from when somebody asks until ctx ends. It is called
// once.
func (s *Store) Run(ctx context.Context, client Client) {
	select {
	case <-s.asked:
	case <-ctx.Done():
		return
	}
	o := follow.Options{Name: "clustertrustbundles", Failed: func(err error) { s.fail(ctx, err) }}
	switch s.discover(ctx, client) {
	case "v1":
		follow.Run(ctx, client.CertificatesV1().ClusterTrustBundles(), &certificatesv1.ClusterTrustBundle{}, store{s}, o)
	case "v1beta1":
		follow.Run(ctx, client.CertificatesV1beta1().ClusterTrustBundles(), &certificatesv1beta1.ClusterTrustBundle{}, store{s}, o)
	}
}

// discover finds out which version the server has, and returns none if ctx ends
// first.
func (s *Store) discover(ctx context.Context, client Client) (version string) {
	var pause backoff.Backoff
	for pause.Pause(ctx) {
		for _, version := range []string{"v1", "v1beta1"} {
			served, err := serves(ctx, client, version)
			if err != nil {
				s.fail(ctx, err)
				break
			}
			if served {
				return version
			}
			s.fail(ctx, errNotServed)
		}
		pause = pause.After(0)
		if errors.Is(s.failure(), errNotServed) {
			pause = backoff.Backoff(again)
		}
	}
	return ""
}

// serves asks the server whether it has bundles in a version.
func serves(ctx context.Context, client Client, version string) (bool, error) {
	list, err := discovery.ToDiscoveryInterfaceWithContext(client.Discovery()).
		ServerResourcesForGroupVersionWithContext(ctx, "certificates.k8s.io/"+version)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find out about ClusterTrustBundles: %w", err)
	}
	for _, r := range list.APIResources {
		if r.Name == "clustertrustbundles" {
			return true, nil
		}
	}
	return false, nil
}

// fail notes why bundles are not known, if there is a reason.
func (s *Store) fail(ctx context.Context, err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	news := s.err == nil || s.err.Error() != err.Error()
	s.err = err
	s.mu.Unlock()
	if news {
		s.o.Log.LogAttrs(ctx, slog.LevelDebug, "trust bundles are not known", slog.Any("err", err))
	}
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// A store is what client-go's reflector writes bundles to.
type store struct{ s *Store }

// Add takes a bundle that is new.
func (st store) Add(obj any) error { return st.Update(obj) }

// Update takes a bundle that changed.
func (st store) Update(obj any) error {
	name, b, ok := read(obj)
	if !ok {
		return nil
	}
	st.s.change(func(all map[string]bundle) bool {
		old, known := all[name]
		all[name] = b
		return !known || !old.same(b)
	})
	return nil
}

// Delete takes a bundle that is gone.
func (st store) Delete(obj any) error {
	name, _, ok := read(obj)
	if !ok {
		return nil
	}
	st.s.change(func(all map[string]bundle) bool {
		delete(all, name)
		return true
	})
	return nil
}

// Replace takes all bundles there are.
func (st store) Replace(list []any, _ string) error {
	fresh := make(map[string]bundle, len(list))
	for _, obj := range list {
		if name, b, ok := read(obj); ok {
			fresh[name] = b
		}
	}
	st.s.change(func(all map[string]bundle) bool {
		changed := !maps.EqualFunc(all, fresh, bundle.same)
		clear(all)
		maps.Copy(all, fresh)
		select {
		case <-st.s.synced:
		default:
			close(st.s.synced)
			changed = true
		}
		return changed
	})
	return nil
}

// Resync has no meaning for this store.
func (store) Resync() error { return nil }

// change lets a function change the bundles, and tells if it did.
func (s *Store) change(do func(map[string]bundle) bool) {
	s.mu.Lock()
	changed := do(s.bundles)
	s.mu.Unlock()
	if changed {
		s.o.Changed()
	}
}

// read reads a bundle of either version.
func read(obj any) (name string, b bundle, ok bool) {
	switch o := obj.(type) {
	case *certificatesv1.ClusterTrustBundle:
		return o.Name, bundle{o.Spec.SignerName, o.Labels, decode(o.Spec.TrustBundle)}, true
	case *certificatesv1beta1.ClusterTrustBundle:
		return o.Name, bundle{o.Spec.SignerName, o.Labels, decode(o.Spec.TrustBundle)}, true
	default:
		return "", bundle{}, false
	}
}
