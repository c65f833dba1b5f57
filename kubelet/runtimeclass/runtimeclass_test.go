package runtimeclass

import (
	"errors"
	"testing"

	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func handler(t *testing.T, c *Classes, class, want string) {
	t.Helper()
	if got, err := c.Handler(t.Context(), class); err != nil || got != want {
		t.Errorf("handler of %q: %q, %v; want %q", class, got, err, want)
	}
}

func TestHandler(t *testing.T) {
	c := New()
	handler(t, c, "", "")
	if _, err := c.Handler(t.Context(), "fast"); !errors.Is(err, errNoAPI) || err.Error() != "failed to lookup RuntimeClass fast: no API server yet" {
		t.Error(err)
	}
	client := fake.NewClientset(&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Handler: "runc"})
	c.Connect(client.NodeV1())
	handler(t, c, "fast", "runc")
	if _, err := c.Handler(t.Context(), "none"); !apierrors.IsNotFound(err) || err.Error() != `runtimeclasses.node.k8s.io "none" not found` {
		t.Error(err)
	}

	var away error
	client.PrependReactor("get", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return away != nil, nil, away })
	away = errors.New("connection refused")
	handler(t, c, "fast", "runc")
	if _, err := c.Handler(t.Context(), "slow"); !errors.Is(err, away) {
		t.Errorf("never heard of: %v", err)
	}
	away = nil
	if err := client.NodeV1().RuntimeClasses().Delete(t.Context(), "fast", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Handler(t.Context(), "fast"); !apierrors.IsNotFound(err) {
		t.Errorf("deleted: %v", err)
	}
	away = errors.New("connection refused")
	if _, err := c.Handler(t.Context(), "fast"); !errors.Is(err, away) {
		t.Errorf("deleted, and then the API went: %v", err)
	}
}
