// Package links keeps the services of the cluster and says by which environment
// variables the containers of a pod find them. It decides which services a pod
// is told of and what the variables are called; that a container's own
// variables hide them is decided by kubelet/spec.
package links

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// ErrNotRead says, as upstream does, that a pod cannot be told of services yet.
var ErrNotRead = errors.New("services have not yet been read at least once, cannot construct envvars")

// Options are what Links are made of.
type Options struct {
	// Wait is how long a pod waits for the services to be read for the first
	// time; 0 is 10 s.
	Wait time.Duration
	Log  *slog.Logger
}

// Links are the services that have an address in the cluster. Its methods may
// be called from several goroutines.
type Links struct {
	o    Options
	read chan struct{} // closed once services have been read

	mu     sync.Mutex                    // guards what follows
	byName map[string]map[string]service // by namespace, then by name
	isRead bool
}

// A service is what containers are told of one: a few bytes of an object that
// has hundreds.
type service struct {
	address string
	ports   []port
}

type port struct {
	name     string
	protocol v1.Protocol
	number   int32
}

// New returns Links that know of no service before Run.
func New(o Options) *Links {
	if o.Wait == 0 {
		o.Wait = 10 * time.Second
	}
	return &Links{o: o, read: make(chan struct{}), byName: map[string]map[string]service{}}
}

// master is the service that every pod is told of, whatever it says of service
// links: clients in pods find the API server by it.
const (
	master          = "kubernetes"
	masterNamespace = v1.NamespaceDefault
)

// Environment returns the variables for containers of p: those of the services
// of its namespace, if it wants service links, and those of the API server. A
// pod of the API waits until services have been read once, or gets ErrNotRead; a
// static pod takes what is known (SP-31).
func (l *Links) Environment(ctx context.Context, p *v1.Pod) ([]v1.EnvVar, error) {
	if !pod.IsStatic(p) {
		if err := l.await(ctx); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	told := map[string]service{}
	if links := p.Spec.EnableServiceLinks; links == nil || *links {
		maps.Copy(told, l.byName[p.Namespace])
	}
	if s, ok := l.byName[masterNamespace][master]; ok {
		// The namespace's own service of that name comes first, as it does upstream.
		if _, hidden := told[master]; !hidden {
			told[master] = s
		}
	}
	return variables(told), nil
}

// await waits, for a while, until services have been read.
func (l *Links) await(ctx context.Context) error {
	timeout := time.NewTimer(l.o.Wait)
	defer timeout.Stop()
	select {
	case <-l.read:
		return nil
	case <-timeout.C:
		return ErrNotRead
	case <-ctx.Done():
		return ctx.Err()
	}
}
