package podcert

import (
	"context"
	"sync"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/follow"
)

// Requests are those of this node, as the API has them. One watch is for all:
// nodes may not watch a single one.
type requests struct {
	mu      sync.Mutex
	known   map[string]*certificatesv1.PodCertificateRequest // decided or not, by namespace/name
	gone    map[string]bool                                  // of those that are waited for
	waiting map[string]chan struct{}                         // capacity 1
}

func newRequests() *requests {
	return &requests{
		known: map[string]*certificatesv1.PodCertificateRequest{}, gone: map[string]bool{}, waiting: map[string]chan struct{}{},
	}
}

// await returns a channel that has something whenever there is news of a
// request.
func (r *requests) await(name string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := make(chan struct{}, 1)
	r.waiting[name] = news
	return news
}

// leave ends await.
func (r *requests) leave(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, name)
	delete(r.gone, name)
}

// get returns a request if the API is known to have it, and whether it was seen
// to go.
func (r *requests) get(name string) (request *certificatesv1.PodCertificateRequest, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[name], r.gone[name]
}

// watch follows the requests of the node until ctx ends.
func (r *requests) watch(ctx context.Context, client Client, node string) {
	all := client.CertificatesV1().PodCertificateRequests(metav1.NamespaceAll)
	follow.Run(ctx, all, &certificatesv1.PodCertificateRequest{}, r, follow.Options{
		Name: "podcertificaterequests", Fields: follow.Field("spec.nodeName", node), // who waits says that nothing comes
	})
}

// Add takes a request that is new. Like those that follow, it is what
// client-go's reflector calls.
func (r *requests) Add(obj any) error { return r.Update(obj) }

// Update takes a request that changed.
func (r *requests) Update(obj any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request, ok := obj.(*certificatesv1.PodCertificateRequest); ok {
		r.take(request)
	}
	return nil
}

// take is called with the lock held.
func (r *requests) take(heard *certificatesv1.PodCertificateRequest) {
	name := heard.Namespace + "/" + heard.Name
	request := *heard // which is others' as well
	request.ManagedFields = nil
	r.known[name] = &request
	r.tell(name)
}

func (r *requests) tell(name string) {
	select {
	case r.waiting[name] <- struct{}{}:
	default: // nobody waits, or there is news already
	}
}

// Delete takes a request that is gone.
func (r *requests) Delete(obj any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request, ok := obj.(*certificatesv1.PodCertificateRequest); ok {
		name := request.Namespace + "/" + request.Name
		delete(r.known, name)
		if r.waiting[name] != nil {
			r.gone[name] = true
			r.tell(name)
		}
	}
	return nil
}

// Replace takes all requests there are. One that is waited for and not among
// them may have been made since.
func (r *requests) Replace(list []any, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.known)
	for _, obj := range list {
		if request, ok := obj.(*certificatesv1.PodCertificateRequest); ok {
			r.take(request)
		}
	}
	return nil
}

// Resync has no meaning here.
func (r *requests) Resync() error { return nil }
