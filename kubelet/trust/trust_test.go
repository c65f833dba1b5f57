package trust

import (
	"context"
	"encoding/pem"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

// certificate returns one as PEM, which nobody here looks into.
func certificate(der string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)}))
}

func newBundle(name, signer string, labels map[string]string, text string) *certificatesv1.ClusterTrustBundle {
	return &certificatesv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: text},
	}
}

// run returns a Store that runs on an API server that serves bundles in a
// version, and how often it told of a change.
func run(t *testing.T, version string, objects ...runtime.Object) (*Store, *fake.Clientset, *atomic.Int32) {
	client := fake.NewClientset(objects...)
	client.Resources = []*metav1.APIResourceList{
		{GroupVersion: "certificates.k8s.io/v1", APIResources: []metav1.APIResource{{Name: "certificatesigningrequests"}}},
		{GroupVersion: "certificates.k8s.io/v1beta1"},
	}
	for _, list := range client.Resources {
		if list.GroupVersion == "certificates.k8s.io/"+version {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: "clustertrustbundles"})
		}
	}
	var changed atomic.Int32
	s := New(Options{Changed: func() { changed.Add(1) }, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx, client); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s, client, &changed
}

// get returns what a source shows, without what makes it PEM, or the error.
func get(t *testing.T, s *Store, src v1.ClusterTrustBundleProjection) string {
	t.Helper()
	data, err := s.Bundle(t.Context(), &src)
	if err != nil {
		return err.Error()
	}
	ders := decode(string(data))
	return strings.Join(ders, " ")
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, test := map[string]string{"use": "live"}, map[string]string{"use": "test"}
		s, _, _ := run(t, "v1",
			newBundle("plain", "", nil, "words\n"+certificate("a")+"more words\n"+certificate("a")),
			newBundle("x.io:s:1", "x.io/s", live, certificate("b")),
			newBundle("x.io:s:2", "x.io/s", live, certificate("b")),
			newBundle("x.io:s:3", "x.io/s", test, certificate("c")),
			newBundle("y.io:s:1", "y.io/s", live, certificate("d")),
		)
		signer := new("x.io/s")
		for what, tc := range map[string]struct {
			src  v1.ClusterTrustBundleProjection
			want string
		}{
			"by name":        {v1.ClusterTrustBundleProjection{Name: new("plain")}, "a"},
			"by label":       {v1.ClusterTrustBundleProjection{SignerName: signer, LabelSelector: &metav1.LabelSelector{MatchLabels: live}}, "b"},
			"none of a name": {v1.ClusterTrustBundleProjection{Name: new("none")}, `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "none" not found`},
			"no selector":    {v1.ClusterTrustBundleProjection{SignerName: signer}, "combination of signerName and labelSelector matched zero ClusterTrustBundles"},
			"optional name":  {v1.ClusterTrustBundleProjection{Name: new("none"), Optional: new(true)}, ""},
			"optional label": {v1.ClusterTrustBundleProjection{SignerName: signer, Optional: new(true)}, ""},
			"neither":        {v1.ClusterTrustBundleProjection{}, "ClusterTrustBundle projection requires either name or signerName to be set"},
		} {
			expect(t, what, get(t, s, tc.src), tc.want)
		}
		all := v1.ClusterTrustBundleProjection{SignerName: signer, LabelSelector: &metav1.LabelSelector{}}
		got := get(t, s, all)
		if got != "b c" && got != "c b" {
			t.Errorf("all of a signer: %s", got)
		}
		expect(t, "the order", get(t, s, all), got)
	})
}

func TestBundlesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client, changed := run(t, "v1")
		synctest.Wait()
		expect(t, "requests before anybody asked", len(client.Actions()), 0)
		src := v1.ClusterTrustBundleProjection{Name: new("b"), Optional: new(true)}
		expect(t, "at first", get(t, s, src), "")
		before := changed.Load()
		bundles := client.CertificatesV1().ClusterTrustBundles()
		if _, err := bundles.Create(t.Context(), newBundle("b", "", nil, certificate("one")), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect(t, "created", get(t, s, src), "one")
		if _, err := bundles.Update(t.Context(), newBundle("b", "", nil, certificate("two")), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect(t, "updated", get(t, s, src), "two")
		if _, err := bundles.Update(t.Context(), newBundle("b", "", nil, "words\n"+certificate("two")), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect(t, "told", changed.Load()-before, 2) // not of words
		if err := bundles.Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect(t, "deleted", get(t, s, src), "")
		expect(t, "told in all", changed.Load()-before, 3)
	})
}

func TestOlderServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := run(t, "v1beta1", &certificatesv1beta1.ClusterTrustBundle{
			ObjectMeta: metav1.ObjectMeta{Name: "b"},
			Spec:       certificatesv1beta1.ClusterTrustBundleSpec{TrustBundle: certificate("old")},
		})
		expect(t, "v1beta1", get(t, s, v1.ClusterTrustBundleProjection{Name: new("b")}), "old")

		s, _, _ = run(t, "none")
		start := time.Now()
		expect(t, "none", get(t, s, v1.ClusterTrustBundleProjection{Name: new("b")}),
			"ClusterTrustBundle informer has not yet synced: the API server has no ClusterTrustBundles")
		expect(t, "waited", time.Since(start), wait)
	})
}
