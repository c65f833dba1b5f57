package kubelet

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"boot.internal/balancer"
)

// learned returns the servers that a loop knows once it has followed those of a
// cluster, and the figures it gives of them.
func learned(t *testing.T, client *fake.Clientset) (servers []string, figures int) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	k := &kubelet{o: Options{Logger: log}, balancer: balancer.New(balancer.Options{
		Seeds: []string{"192.0.2.9:6443"}, File: filepath.Join(t.TempDir(), serversFile), Log: log,
	})}
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	k.followServers(ctx, &g, client)
	synctest.Wait()
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	all, _ := k.balancer.Servers()
	for _, s := range all {
		servers = append(servers, s.Address)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(serverFigures{k.balancer})
	families, err := r.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, f := range families {
		figures += len(f.Metric)
	}
	return servers, figures
}

func TestServersFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"},
			Ports:      []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(6443))}},
		}
		for _, ip := range []string{"192.0.2.1", "fd00::2", "192.0.2.3"} {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip}})
		}
		slice.Endpoints[2].Conditions.Ready = new(false)
		got, figures := learned(t, fake.NewClientset(slice))
		if diff := cmp.Diff([]string{"192.0.2.1:6443", "192.0.2.9:6443", "[fd00::2]:6443"}, got); diff != "" || figures != 7 {
			t.Errorf("%d figures of %s", figures, diff)
		}
	})
}

// Nodes of a cluster that boot did not make may ask for what they may not watch.
func TestServersAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(&v1.Endpoints{ //nolint:staticcheck // what nodes may read
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"},
			Subsets: []v1.EndpointSubset{{ //nolint:staticcheck // the same
				Addresses: []v1.EndpointAddress{{IP: "192.0.2.1"}, {IP: "192.0.2.2"}}, Ports: []v1.EndpointPort{{Port: 6443}},
			}},
		})
		client.PrependReactor("list", "endpointslices", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "kubernetes", nil)
		})
		got, _ := learned(t, client)
		if diff := cmp.Diff([]string{"192.0.2.1:6443", "192.0.2.2:6443", "192.0.2.9:6443"}, got); diff != "" {
			t.Error(diff)
		}
	})
}
