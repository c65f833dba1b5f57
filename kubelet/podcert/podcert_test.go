package podcert

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"boot.internal/kubelet/pod"
)

// A signer is an API server whose test answers the requests.
type signer struct {
	*Store
	t      *testing.T
	client *fake.Clientset
	named  int

	mu     sync.Mutex
	events []string
	told   int
}

// newSigner returns a Store that runs, in the test's bubble.
func newSigner(t *testing.T) *signer {
	s := &signer{t: t, client: fake.NewClientset(&v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "robot", UID: "sa"}})}
	s.Store = New(Options{
		Node: "n", NodeUID: func() types.UID { return "node" },
		Changed: func(pod.Key, types.UID) { s.mu.Lock(); s.told++; s.mu.Unlock() },
		Event: func(_ *v1.Pod, _, reason, message string) {
			s.mu.Lock()
			s.events = append(s.events, reason+": "+message)
			s.mu.Unlock()
		},
		Log: slog.New(slog.DiscardHandler),
	})
	s.client.PrependReactor("create", "podcertificaterequests", func(a k8stesting.Action) (bool, runtime.Object, error) {
		s.named++
		a.(k8stesting.CreateActionImpl).Object.(*certificatesv1.PodCertificateRequest).Name = fmt.Sprintf("req-%d", s.named)
		return false, nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx, s.client); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func newPod() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "a"},
		Spec: v1.PodSpec{ServiceAccountName: "robot", Volumes: []v1.Volume{
			{Name: "v", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
				{PodCertificate: &v1.PodCertificateProjection{SignerName: "x.io/s", KeyType: "ED25519", MaxExpirationSeconds: new(int32(3600))}},
			}}}},
		}},
	}
}

// pending returns the one request that is not answered.
func (s *signer) pending() *certificatesv1.PodCertificateRequest {
	s.t.Helper()
	synctest.Wait()
	list, err := s.client.CertificatesV1().PodCertificateRequests("ns").List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range list.Items {
		if len(list.Items[i].Status.Conditions) == 0 {
			return &list.Items[i]
		}
	}
	s.t.Fatalf("no request is pending among %d", len(list.Items))
	return nil
}

// answer decides the pending request.
func (s *signer) answer(condition, chain string, life time.Duration) {
	s.t.Helper()
	r := s.pending()
	r.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue, Reason: "Why", Message: "so"}}
	if chain != "" {
		now := time.Now()
		r.Status.CertificateChain = chain
		r.Status.BeginRefreshAt = new(metav1.NewTime(now.Add(life / 2)))
		r.Status.NotAfter = new(metav1.NewTime(now.Add(life)))
	}
	if _, err := s.client.CertificatesV1().PodCertificateRequests("ns").UpdateStatus(s.t.Context(), r, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

// get returns the chain, or the error.
func (s *signer) get() string {
	_, chain, err := s.Certificate(s.t.Context(), newPod(), "v", 0)
	if err != nil {
		return err.Error()
	}
	block, _ := pem.Decode(chain)
	return string(block.Bytes)
}

func certificateOf(der string) string {
	return "words\n" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der), Headers: map[string]string{"a": "b"}}))
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestIssued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		s.SetPods([]*v1.Pod{newPod()})
		r := s.pending()
		proof, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
		if err != nil || proof.CheckSignature() != nil {
			t.Fatalf("the key is not proved: %v", err)
		}
		r.Spec.StubPKCS10Request = nil
		expect(t, "request", r.Spec, certificatesv1.PodCertificateRequestSpec{
			SignerName: "x.io/s", PodName: "p", PodUID: "a", ServiceAccountName: "robot", ServiceAccountUID: "sa",
			NodeName: "n", NodeUID: "node", MaxExpirationSeconds: new(int32(3600)),
		})
		expect(t, "too early", s.get(), "credential bundle is not issued yet")
		s.answer(certificatesv1.PodCertificateRequestConditionTypeIssued, certificateOf("one"), time.Hour)
		key, chain, err := s.Certificate(t.Context(), newPod(), "v", 0)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "chain", string(chain), strings.ReplaceAll(strings.TrimPrefix(certificateOf("one"), "words\n"), "a: b\n\n", ""))
		block, _ := pem.Decode(key)
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !proof.PublicKey.(ed25519.PublicKey).Equal(private.(ed25519.PrivateKey).Public()) {
			t.Error("the key is another one than was proved")
		}
		expect(t, "told", s.told, 1)
	})
}

func TestRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		s.SetPods([]*v1.Pod{newPod()})
		s.answer(certificatesv1.PodCertificateRequestConditionTypeIssued, certificateOf("one"), time.Hour)
		time.Sleep(30*time.Minute + jitter)
		expect(t, "while the next is asked for", s.get(), "one")
		s.answer(certificatesv1.PodCertificateRequestConditionTypeIssued, certificateOf("two"), time.Hour)
		expect(t, "the next", s.get(), "two")
		expect(t, "told", s.told, 2)
		time.Sleep(2 * time.Hour) // nobody answers
		synctest.Wait()
		expect(t, "an old one is better than none", s.get(), "two")
		expect(t, "events", s.events, []string{
			"CertificateOverdueForRefresh: PodCertificate refresh overdue", "CertificateExpired: PodCertificate expired",
		})
	})
}

func TestDeniedAndFailedForGood(t *testing.T) {
	for condition, want := range map[string][2]string{
		certificatesv1.PodCertificateRequestConditionTypeDenied: {
			`PodCertificateRequest was permanently denied: reason="Why" message="so"`,
			`Denied: PodCertificateRequest ns/req-1 was denied, reason="Why", message="so"`,
		},
		certificatesv1.PodCertificateRequestConditionTypeFailed: {
			`PodCertificateRequest was permanently failed: reason="Why" message="so"`,
			`Failed: PodCertificateRequest ns/req-1 failed, reason="Why", message="so"`,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSigner(t)
			s.SetPods([]*v1.Pod{newPod()})
			s.answer(condition, "", 0)
			expect(t, "error", s.get(), want[0])
			expect(t, "events", s.events, []string{want[1]})
			time.Sleep(24 * time.Hour)
			expect(t, "requests", s.named, 1)
		})
	}
}

func TestAskedAgainWhenARequestIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		s.SetPods([]*v1.Pod{newPod()})
		if err := s.client.CertificatesV1().PodCertificateRequests("ns").Delete(t.Context(), s.pending().Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.answer(certificatesv1.PodCertificateRequestConditionTypeIssued, certificateOf("one"), time.Hour)
		expect(t, "chain", s.get(), "one")
		expect(t, "requests", s.named, 2)
	})
}

func TestForgottenWithThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		s.SetPods([]*v1.Pod{newPod()})
		s.answer(certificatesv1.PodCertificateRequestConditionTypeIssued, certificateOf("one"), time.Hour)
		s.SetPods(nil)
		time.Sleep(24 * time.Hour)
		expect(t, "requests", s.named, 1)
		expect(t, "without the pod", s.get(), "credential bundle is not issued yet")
	})
}

func TestNewKey(t *testing.T) {
	for _, keyType := range []string{"RSA3072", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"} {
		key, proof, err := newKey(keyType)
		if err != nil {
			t.Fatal(err)
		}
		request, err := x509.ParseCertificateRequest(proof)
		if err != nil || request.CheckSignature() != nil {
			t.Errorf("%s: no proof: %v", keyType, err)
		}
		if block, rest := pem.Decode(key); block == nil || len(rest) > 0 || block.Type != "PRIVATE KEY" {
			t.Errorf("%s: no key", keyType)
		}
	}
	if _, _, err := newKey("DSA"); err == nil || err.Error() != `make key of type "DSA": no such type` {
		t.Errorf("error %v", err)
	}
}
