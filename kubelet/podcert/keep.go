package podcert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/backoff"
	"boot.internal/kubelet/pod"
)

const (
	jitter  = 5 * time.Minute  // at most so much later, so that not all refresh together
	overdue = 10 * time.Minute // after the time to refresh, it is worth an event
	abandon = 10 * time.Minute // a request that the watch does not know by then is gone
)

// keep has c issued, and again whenever it is time, until ctx ends or it never
// will be.
func (s *Store) keep(ctx context.Context, client Client, c *certificate) {
	var pause backoff.Backoff
	said := ""
	for pause.Pause(ctx) {
		fresh, err := s.issue(ctx, client, c)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			pause, said = 0, ""
			s.set(c, fresh)
			if !backoff.Sleep(ctx, time.Until(fresh.refresh)) {
				return
			}
			continue
		}
		var final *finalError
		if s.fail(c, err); errors.As(err, &final) {
			s.o.Event(c.pod, v1.EventTypeWarning, final.condition.Type, final.event())
			return
		}
		if err.Error() != said {
			said = err.Error()
			s.o.Log.LogAttrs(ctx, slog.LevelWarn, "pod certificate is not issued", slog.String("uid", string(c.pod.UID)), slog.Any("err", err))
		}
		pause = pause.After(0)
	}
}

// set notes that c was issued.
func (s *Store) set(c *certificate, fresh issued) {
	s.mu.Lock()
	c.issued, c.err = fresh, nil
	s.mu.Unlock()
	s.tell(c)
}

// fail notes why c was not issued. One that was issued before stays, unless
// there never will be another.
func (s *Store) fail(c *certificate, err error) {
	var final *finalError
	s.mu.Lock()
	over := errors.As(err, &final)
	if over || c.chain == nil {
		c.err = err
	}
	s.mu.Unlock()
	if over {
		s.tell(c)
	}
}

// tell lets those go on who wait for c.
func (s *Store) tell(c *certificate) {
	select {
	case <-c.known:
	default:
		close(c.known) // by the one goroutine that has c issued
	}
	s.o.Changed(pod.KeyOf(c.pod), c.pod.UID)
}

// A finalError says that a request was denied or has failed: there is no use in
// asking again.
type finalError struct {
	name      string
	condition metav1.Condition
}

func (e *finalError) Error() string {
	how := "failed"
	if e.condition.Type == certificatesv1.PodCertificateRequestConditionTypeDenied {
		how = "denied"
	}
	return fmt.Sprintf("PodCertificateRequest was permanently %s: reason=%q message=%q", how, e.condition.Reason, e.condition.Message)
}

// event is what the user is told.
func (e *finalError) event() string {
	how := "failed"
	if e.condition.Type == certificatesv1.PodCertificateRequestConditionTypeDenied {
		how = "was denied"
	}
	return fmt.Sprintf("PodCertificateRequest %s %s, reason=%q, message=%q", e.name, how, e.condition.Reason, e.condition.Message)
}

// issue asks for a certificate and waits for the answer.
func (s *Store) issue(ctx context.Context, client Client, c *certificate) (issued, error) {
	key, proof, err := newKey(c.src.KeyType)
	if err != nil {
		return issued{}, err
	}
	request, err := s.request(ctx, client, c, proof)
	if err != nil {
		return issued{}, err
	}
	name := request.Namespace + "/" + request.Name
	news := s.requests.await(name)
	defer s.requests.leave(name)
	answer, err := s.answer(ctx, c, name, news)
	if err != nil {
		return issued{}, err
	}
	for _, condition := range answer.Status.Conditions {
		if condition.Type != certificatesv1.PodCertificateRequestConditionTypeIssued {
			return issued{}, &finalError{name, condition}
		}
	}
	out := issued{key: key, chain: onlyCertificates(answer.Status.CertificateChain)}
	if t := answer.Status.BeginRefreshAt; t != nil {
		out.refresh = t.Add(rand.N(jitter))
	}
	if t := answer.Status.NotAfter; t != nil {
		out.expires = t.Time
	}
	return out, nil
}

// request makes a request in the name of the pod.
func (s *Store) request(ctx context.Context, client Client, c *certificate, proof []byte) (*certificatesv1.PodCertificateRequest, error) {
	p, node := c.pod, s.o.NodeUID()
	if node == "" {
		return nil, errors.New("the node is not registered yet")
	}
	account, err := client.CoreV1().ServiceAccounts(p.Namespace).Get(ctx, p.Spec.ServiceAccountName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read service account: %w", err)
	}
	request, err := client.CertificatesV1().PodCertificateRequests(p.Namespace).Create(ctx, &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, GenerateName: "req-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID}},
		},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: c.src.SignerName, PodName: p.Name, PodUID: p.UID,
			ServiceAccountName: account.Name, ServiceAccountUID: account.UID,
			NodeName: types.NodeName(s.o.Node), NodeUID: node,
			MaxExpirationSeconds: c.src.MaxExpirationSeconds, StubPKCS10Request: proof,
			UnverifiedUserAnnotations: c.src.UserAnnotations,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create PodCertificateRequest: %w", err)
	}
	return request, nil
}

// answer waits until a request is decided, and tells of a certificate that is
// to be replaced and grows too old meanwhile.
func (s *Store) answer(ctx context.Context, c *certificate, name string, news <-chan struct{}) (*certificatesv1.PodCertificateRequest, error) {
	asked := time.Now()
	late, old := s.alarm(c, "CertificateOverdueForRefresh", "PodCertificate refresh overdue", c.refresh.Add(overdue)),
		s.alarm(c, "CertificateExpired", "PodCertificate expired", c.expires)
	defer late()
	defer old()
	again := time.NewTimer(abandon)
	defer again.Stop()
	for {
		request, gone := s.requests.get(name)
		switch {
		case request != nil && len(request.Status.Conditions) > 0:
			return request, nil
		case gone, request == nil && time.Since(asked) >= abandon:
			return nil, fmt.Errorf("PodCertificateRequest %q appears to have been deleted", name)
		}
		select {
		case <-news:
		case <-again.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// alarm records an event at a time, if a certificate was issued before and the
// alarm is not called off.
func (s *Store) alarm(c *certificate, reason, message string, at time.Time) (off func()) {
	if c.chain == nil {
		return func() {}
	}
	t := time.AfterFunc(time.Until(at), func() { s.o.Event(c.pod, v1.EventTypeWarning, reason, message) })
	return func() { t.Stop() }
}
