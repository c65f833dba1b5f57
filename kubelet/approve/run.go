package approve

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/follow"
)

// retryAfter is how long a request that did not check out is left alone before
// it is looked at again: a node may not have told its addresses yet. Whoever asks
// gives up by himself, so what is tried is not counted.
const retryAfter = 5 * time.Second

// requestTimeout bounds what is asked of the API about one request.
const requestTimeout = 10 * time.Second

// An approver approves what checks out.
type approver struct {
	client kubernetes.Interface
	log    *slog.Logger
	poke   chan struct{} // capacity 1

	mu      sync.Mutex // guards what follows
	waiting map[string]*certificatesv1.CertificateSigningRequest
	said    map[string]string // why not, by the name of the request
}

// Run approves requests until ctx ends. The rights it takes are those of the
// ClusterRole boot:kubelet-serving-approver.
func Run(ctx context.Context, client kubernetes.Interface, log *slog.Logger) {
	a := &approver{
		client: client, log: log, poke: make(chan struct{}, 1),
		waiting: map[string]*certificatesv1.CertificateSigningRequest{}, said: map[string]string{},
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { a.watch(ctx) })
	for {
		var again <-chan time.Time
		if a.work(ctx) > 0 {
			again = time.After(retryAfter)
		}
		select {
		case <-a.poke:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// watch follows the requests for the signer of serving certificates.
func (a *approver) watch(ctx context.Context) {
	follow.Run(ctx, a.client.CertificatesV1().CertificateSigningRequests(), &certificatesv1.CertificateSigningRequest{}, store{a}, follow.Options{
		Name: "requests for serving certificates", Fields: follow.Field("spec.signerName", certificatesv1.KubeletServingSignerName),
	}) // until the control plane has set up its rights there are errors
}

// work looks at all that wait and returns how many still do.
func (a *approver) work(ctx context.Context) int {
	a.mu.Lock()
	now := make([]*certificatesv1.CertificateSigningRequest, 0, len(a.waiting))
	for _, csr := range a.waiting {
		now = append(now, csr)
	}
	a.mu.Unlock()
	left := 0
	for _, csr := range now {
		err := a.approve(ctx, csr)
		a.note(ctx, csr, err)
		if err != nil {
			left++
		}
	}
	return left
}

// approve approves one request if it checks out.
func (a *approver) approve(ctx context.Context, csr *certificatesv1.CertificateSigningRequest) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	nodes, err := a.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if err := Check(csr, nodes.Items); err != nil {
		return err
	}
	csr = csr.DeepCopy()
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: v1.ConditionTrue, Reason: "AutoApproved",
		Message: "Auto approving kubelet serving certificate: the node has the addresses it asks for.",
	})
	_, err = a.client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // somebody was faster: the watch tells
		return nil
	}
	if err != nil {
		return fmt.Errorf("approve request: %w", err)
	}
	return nil
}

// note keeps what became of a request, and logs each reason once.
func (a *approver) note(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.waiting, csr.Name)
		delete(a.said, csr.Name)
		a.log.LogAttrs(ctx, slog.LevelInfo, "approved serving certificate", slog.String("request", csr.Name), slog.String("user", csr.Spec.Username))
		return
	}
	if a.said[csr.Name] != err.Error() && ctx.Err() == nil {
		a.said[csr.Name] = err.Error()
		a.log.LogAttrs(ctx, slog.LevelWarn, "serving certificate is not approved", slog.String("request", csr.Name), slog.Any("err", err))
	}
}

// A store is what client-go's reflector writes requests to: it keeps those that
// wait.
type store struct{ a *approver }

// Add takes a request that is new.
func (s store) Add(obj any) error { return s.Update(obj) }

// Update takes a request that changed.
func (s store) Update(obj any) error {
	csr, ok := obj.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return nil
	}
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	if !open(csr) {
		delete(s.a.waiting, csr.Name)
		delete(s.a.said, csr.Name)
		return nil
	}
	s.a.waiting[csr.Name] = csr
	select {
	case s.a.poke <- struct{}{}:
	default:
	}
	return nil
}

// Delete takes a request that is gone.
func (s store) Delete(obj any) error {
	if csr, ok := obj.(*certificatesv1.CertificateSigningRequest); ok {
		s.a.mu.Lock()
		defer s.a.mu.Unlock()
		delete(s.a.waiting, csr.Name)
		delete(s.a.said, csr.Name)
	}
	return nil
}

// Replace takes everything there is.
func (s store) Replace(list []any, _ string) error {
	s.a.mu.Lock()
	clear(s.a.waiting)
	s.a.mu.Unlock()
	for _, obj := range list {
		if err := s.Update(obj); err != nil {
			return err
		}
	}
	return nil
}

// Resync has no meaning for this store.
func (store) Resync() error { return nil }
