// Package trust knows the ClusterTrustBundles of the cluster, for the pods that
// show them to their containers.
//
// It decides which version of the API to read, and watches only once somebody
// has asked. What it returns is made of whole certificates, each once, in an
// order that nobody should rely on: it is another one in every process, and
// stays the same within one. Where the bundles are put is left to those who
// ask.
package trust

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Options say whom to tell.
type Options struct {
	// Changed is called when any bundle is another one. It must not block. May
	// be nil.
	Changed func()
	Log     *slog.Logger
}

// A Store knows the bundles. Its methods may be called from any goroutine.
type Store struct {
	o     Options
	seed  maphash.Seed
	asked chan struct{} // closed once somebody has asked
	once  sync.Once

	mu      sync.Mutex        // guards what follows
	bundles map[string]bundle // by name
	synced  chan struct{}     // closed once bundles are known
	err     error             // why they are not
}

// A bundle is what is kept of a ClusterTrustBundle, whatever its version.
type bundle struct {
	signer string
	labels labels.Set
	der    []string // certificates
}

// wait is how long a bundle is waited for that was never heard of.
const wait = 10 * time.Second

// New returns a Store that knows nothing before Run.
func New(o Options) *Store {
	if o.Changed == nil {
		o.Changed = func() {}
	}
	return &Store{
		o: o, seed: maphash.MakeSeed(), asked: make(chan struct{}),
		bundles: map[string]bundle{}, synced: make(chan struct{}), err: errors.New("no API server yet"),
	}
}

// Bundle returns the certificates that a volume asks for, by the name of a
// bundle or by signer and labels, as PEM. Without any it is an error, unless
// that is optional.
func (s *Store) Bundle(ctx context.Context, src *v1.ClusterTrustBundleProjection) ([]byte, error) {
	s.once.Do(func() { close(s.asked) })
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-s.synced:
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, fmt.Errorf("ClusterTrustBundle informer has not yet synced: %w", s.err)
	}
	optional := src.Optional != nil && *src.Optional
	found, err := s.find(src)
	if err != nil {
		return nil, err
	}
	switch {
	case len(found) > 0:
		return s.encode(found), nil
	case optional:
		return nil, nil
	case src.Name != nil:
		missing := apierrors.NewNotFound(schema.GroupResource{Group: "certificates.k8s.io", Resource: "clustertrustbundle"}, *src.Name)
		return nil, fmt.Errorf("while getting ClusterTrustBundle: %w", missing)
	default:
		return nil, errors.New("combination of signerName and labelSelector matched zero ClusterTrustBundles")
	}
}

// find returns the bundles that are asked for. Without a label selector, a
// signer has none; an empty one takes all.
func (s *Store) find(src *v1.ClusterTrustBundleProjection) ([]bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case src.Name != nil:
		if b, ok := s.bundles[*src.Name]; ok {
			return []bundle{b}, nil
		}
		return nil, nil
	case src.SignerName == nil:
		return nil, errors.New("ClusterTrustBundle projection requires either name or signerName to be set")
	}
	selector, err := metav1.LabelSelectorAsSelector(src.LabelSelector)
	if err != nil {
		return nil, fmt.Errorf("while parsing label selector: %w", err)
	}
	var found []bundle
	for _, b := range s.bundles {
		if b.signer == *src.SignerName && selector.Matches(b.labels) {
			found = append(found, b)
		}
	}
	return found, nil
}

// encode returns the certificates of all bundles, each once, in the order of
// this process.
func (s *Store) encode(all []bundle) []byte {
	var ders []string
	for _, b := range all {
		ders = append(ders, b.der...)
	}
	slices.SortFunc(ders, func(a, b string) int {
		return cmp.Or(cmp.Compare(maphash.String(s.seed, a), maphash.String(s.seed, b)), strings.Compare(a, b))
	})
	var out []byte
	for _, der := range slices.Compact(ders) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)})...)
	}
	return out
}

// decode returns the certificates in PEM text, without anything between them.
func decode(text string) []string {
	var ders []string
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		ders = append(ders, string(block.Bytes))
	}
	return ders
}

// same reports whether two bundles are one to whoever shows them.
func (b bundle) same(other bundle) bool {
	return b.signer == other.signer && labels.Equals(b.labels, other.labels) && digest(b.der) == digest(other.der)
}

func digest(ders []string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(ders, "\x00")))
}
