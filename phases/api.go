package phases

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/certs"
	"boot.internal/hint"
)

// fieldManager is who owns, in the cluster, the fields boot applies.
const fieldManager = "boot"

// callTimeout bounds one request, so that a wait sees more than one failure.
const callTimeout = 10 * time.Second

// An apiServer is an API server as phases talk to it: this node's own, or the
// one that a joining node has found; never through the shared endpoint, behind
// which there may be nothing yet.
type apiServer struct {
	kubeconfigs certs.KubeconfigPaths
	url         string        // "https://192.0.2.10:6443"
	timeout     time.Duration // of one call, retries included
	// access, if set, is how to reach an API server without a kubeconfig: that of
	// the cluster, from a node that has only found it.
	access func() (*rest.Config, error)
}

// config returns how to reach the API server. The super administrator comes
// first: the rights of the other are made by one of these very phases.
func (a apiServer) config() (*rest.Config, error) {
	if a.access != nil {
		return a.access()
	}
	path := a.kubeconfigs.SuperAdmin
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		path = a.kubeconfigs.Admin
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, hint.With(fmt.Errorf("read %s: %w", path, err), "remove the file; boot init makes it again")
	}
	c.Host = a.url
	c.Timeout = callTimeout
	c.QPS = -1 // nobody else is there to be fair to
	c.WarningHandler = rest.NoWarnings{}
	return c, nil
}

func (a apiServer) client() (dynamic.Interface, error) {
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	return dynamic.NewForConfig(c)
}

// resource returns the client for objects like obj.
func (a apiServer) resource(kind schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	if namespace == "" {
		return c.Resource(resource), nil
	}
	return c.Resource(resource).Namespace(namespace), nil
}

// get reads the live object of obj's kind and name. It is nil where there is
// none: also before there is an API server at all, which a dry run and the
// first plan have to expect.
func (a apiServer) get(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var live *unstructured.Unstructured
	err := a.call(ctx, readAgain, func(ctx context.Context) error {
		r, err := a.resource(obj.GroupVersionKind(), obj.GetNamespace())
		if err != nil {
			return err
		}
		live, err = r.Get(ctx, obj.GetName(), metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) || notThereYet(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", describe(obj), err)
	}
	return live, nil
}

// apply makes the cluster's object hold what obj says.
func (a apiServer) apply(ctx context.Context, obj *unstructured.Unstructured) error {
	return a.call(ctx, writeAgain, func(ctx context.Context) error {
		_, err := a.applyOnce(ctx, obj)
		return err
	})
}

func (a apiServer) applyOnce(ctx context.Context, obj *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
	r, err := a.resource(obj.GroupVersionKind(), obj.GetNamespace())
	if err != nil {
		return nil, err
	}
	return r.Apply(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: fieldManager, Force: true, DryRun: dryRun})
}

// call repeats do while its error is worth it and the time for a call lasts.
func (a apiServer) call(ctx context.Context, again func(error) bool, do func(context.Context) error) error {
	return until(ctx, a.timeout, func(ctx context.Context) (bool, error) {
		err := do(ctx)
		return err == nil || !again(err), err
	})
}

// notThereYet says whether err means that there is no API server on this node:
// nobody has a way to talk to it, or nobody listens.
func notThereYet(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// hopeless errors stay the same however often a call is repeated.
func hopeless(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &untrusted) || hint.Of(err) != "" ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsUnauthorized(err)
}

// readAgain says whether a read that failed may succeed when repeated.
func readAgain(err error) bool {
	if hopeless(err) || notThereYet(err) {
		return false
	}
	if status := apierrors.APIStatus(nil); !errors.As(err, &status) {
		return true // not an answer at all
	}
	return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err)
}

// writeAgain is more patient: a new API server goes through states without
// namespaces, rules or admission, in which nearly any error passes.
func writeAgain(err error) bool { return !hopeless(err) }

// describe names an object as people write it: "ConfigMap kube-system/coredns".
func describe(obj *unstructured.Unstructured) string {
	name := strings.TrimPrefix(obj.GetNamespace()+"/"+obj.GetName(), "/")
	return obj.GetKind() + " " + name
}
