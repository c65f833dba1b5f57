package links

import (
	"context"
	"log/slog"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/kubelet/follow"
)

// Run follows the services of the cluster until ctx ends. They are listed in
// pages, and of each object only what containers are told is kept.
func (l *Links) Run(ctx context.Context, client corev1.ServicesGetter) {
	follow.Run(ctx, client.Services(metav1.NamespaceAll), &v1.Service{}, store{l}, follow.Options{
		Name:   "services",
		Failed: func(err error) { l.o.Log.Warn("cannot list services", slog.Any("err", err)) },
	})
}

// A store is what client-go's reflector writes services to.
type store struct{ l *Links }

// Add takes a service that is new.
func (s store) Add(obj any) error { return s.Update(obj) }

// Update takes a service that changed.
func (s store) Update(obj any) error {
	if o, ok := obj.(*v1.Service); ok {
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		s.l.put(o)
	}
	return nil
}

// Delete takes a service that is gone.
func (s store) Delete(obj any) error {
	if o, ok := obj.(*v1.Service); ok {
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		s.l.drop(o)
	}
	return nil
}

// Replace takes all services there are.
func (s store) Replace(list []any, _ string) error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.byName = map[string]map[string]service{}
	for _, obj := range list {
		if o, ok := obj.(*v1.Service); ok {
			s.l.put(o)
		}
	}
	if !s.l.isRead {
		s.l.isRead = true
		close(s.l.read)
	}
	return nil
}

// Resync has no meaning for this store.
func (store) Resync() error { return nil }

// put keeps a service that has an address in the cluster. The caller holds mu.
func (l *Links) put(o *v1.Service) {
	if o.Spec.ClusterIP == "" || o.Spec.ClusterIP == v1.ClusterIPNone {
		l.drop(o)
		return
	}
	s := service{address: o.Spec.ClusterIP, ports: make([]port, 0, len(o.Spec.Ports))}
	for _, p := range o.Spec.Ports {
		s.ports = append(s.ports, port{name: p.Name, protocol: p.Protocol, number: p.Port})
	}
	of := l.byName[o.Namespace]
	if of == nil {
		of = map[string]service{}
		l.byName[o.Namespace] = of
	}
	of[o.Name] = s
}

// drop forgets a service. The caller holds mu.
func (l *Links) drop(o *v1.Service) {
	of := l.byName[o.Namespace]
	delete(of, o.Name)
	if len(of) == 0 {
		delete(l.byName, o.Namespace)
	}
}
