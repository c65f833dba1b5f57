// Package podcert has certificates issued for the pods of this node that ask
// for them (KEP-4317).
//
// It makes the keys, which leave this process only for the volumes of their
// pods, and asks by PodCertificateRequest. It decides when to ask again: when
// the signer says that it is time to refresh, and when a request is gone that
// nobody has answered. What was denied or has failed stays so for the life of
// the pod. Where keys and certificates are put is left to those who ask.
//
// Nothing is kept on disk: another process asks anew.
package podcert

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	certificatesv1 "k8s.io/client-go/kubernetes/typed/certificates/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/kubelet/pod"
)

// A Client is the part of the API that a Store uses; a clientset is one.
type Client interface {
	CoreV1() corev1.CoreV1Interface
	CertificatesV1() certificatesv1.CertificatesV1Interface
}

// Options say who asks, and whom to tell. All fields are required.
type Options struct {
	Node    string           // name of this node
	NodeUID func() types.UID // "" while it is not known
	// Changed is called when there is news of a pod's certificates. It must not
	// block.
	Changed func(key pod.Key, uid types.UID)
	// Event records what happened to a pod. It must not block.
	Event func(p *v1.Pod, eventType, reason, message string)
	Log   *slog.Logger
}

// A Store keeps the certificates of pods. Its methods may be called from any
// goroutine.
type Store struct {
	o        Options
	poke     chan struct{} // capacity 1: many pokes before a look are one
	requests *requests

	mu    sync.Mutex // guards what follows
	certs map[id]*certificate
}

// An id is one source of one volume of a pod.
type id struct {
	uid    types.UID
	volume string
	source int
}

// A certificate is one that a pod asks for. Its own goroutine alone has it
// issued; what it comes to is guarded by the Store's lock.
//
//	asked ──► issued ──► asked again ──► issued …
//	  └──────────┴── denied, failed: for good
type certificate struct {
	pod *v1.Pod
	src *v1.PodCertificateProjection

	stop   context.CancelFunc // nil before anything has it issued
	known  chan struct{}      // closed once there is something to return
	issued                    // the last
	err    error              // why there is none, or never will be another
}

// Issued is what a request has led to.
type issued struct {
	key, chain []byte // PEM
	refresh    time.Time
	expires    time.Time
}

// wait is how long a certificate is waited for that was never issued.
const wait = 10 * time.Second

var errPending = errors.New("credential bundle is not issued yet") // upstream's words

// New returns a Store that does nothing before Run.
func New(o Options) *Store {
	return &Store{o: o, poke: make(chan struct{}, 1), requests: newRequests(), certs: map[id]*certificate{}}
}

// SetPods replaces the pods that are to have certificates. They are not
// changed. It never waits.
func (s *Store) SetPods(pods []*v1.Pod) {
	wanted := map[id]bool{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pods {
		for which, src := range sources(p) {
			wanted[which] = true
			if s.certs[which] == nil {
				s.certs[which] = &certificate{pod: p, src: src, known: make(chan struct{}), err: errPending}
				s.wake()
			}
		}
	}
	for which, c := range s.certs {
		if wanted[which] {
			continue
		}
		delete(s.certs, which)
		if c.stop != nil {
			c.stop()
		}
	}
}

// sources returns where volumes of p show certificates.
func sources(p *v1.Pod) map[id]*v1.PodCertificateProjection {
	var all map[id]*v1.PodCertificateProjection
	if pod.IsStatic(p) {
		return nil
	}
	for _, vol := range p.Spec.Volumes {
		if vol.Projected == nil {
			continue
		}
		for i, s := range vol.Projected.Sources {
			if s.PodCertificate == nil {
				continue
			}
			if all == nil {
				all = map[id]*v1.PodCertificateProjection{}
			}
			all[id{p.UID, vol.Name, i}] = s.PodCertificate
		}
	}
	return all
}

// Certificate returns the key and the certificate chain, as PEM, that a source
// of a volume of p shows. It waits a while for the first.
func (s *Store) Certificate(ctx context.Context, p *v1.Pod, volume string, source int) (key, chain []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s.mu.Lock()
	c := s.certs[id{p.UID, volume, source}]
	s.mu.Unlock()
	if c == nil {
		return nil, nil, errPending
	}
	select {
	case <-c.known:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.err != nil {
		return nil, nil, c.err
	}
	return c.key, c.chain, nil
}

// Run has certificates issued through client until ctx ends. It is called once.
func (s *Store) Run(ctx context.Context, client Client) {
	var keepers sync.WaitGroup
	defer keepers.Wait()
	var watch sync.Once
	for {
		for _, c := range s.unkept() {
			watch.Do(func() { keepers.Go(func() { s.requests.watch(ctx, client, s.o.Node) }) })
			own, stop := context.WithCancel(ctx)
			if s.setStop(c, stop) {
				keepers.Go(func() { defer stop(); s.keep(own, client, c) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		}
	}
}

func (s *Store) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// unkept returns the certificates that nothing has issued yet.
func (s *Store) unkept() []*certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*certificate
	for _, c := range s.certs {
		if c.stop == nil {
			all = append(all, c)
		}
	}
	return all
}

// setStop notes how to end what has c issued, unless its pod is gone.
func (s *Store) setStop(c *certificate, stop context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.certs {
		if other == c {
			c.stop = stop
			return true
		}
	}
	stop()
	return false
}
