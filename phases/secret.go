package phases

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
)

// bootstrapTokens lists the bootstrap tokens of the cluster: none before there
// is an API server.
func (a apiServer) bootstrapTokens(ctx context.Context) ([]*corev1.Secret, error) {
	var list *unstructured.UnstructuredList
	err := a.call(ctx, readAgain, func(ctx context.Context) error {
		r, err := a.resource(corev1.SchemeGroupVersion.WithKind("Secret"), metav1.NamespaceSystem)
		if err != nil {
			return err
		}
		list, err = r.List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(bootstrapapi.SecretTypeBootstrapToken)})
		return err
	})
	if notThereYet(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list bootstrap tokens: %w", err)
	}
	var tokens []*corev1.Secret
	for i := range list.Items {
		s, err := toSecret(&list.Items[i])
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, s)
	}
	return tokens, nil
}

func toSecret(obj *unstructured.Unstructured) (*corev1.Secret, error) {
	var s corev1.Secret
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &s); err != nil {
		return nil, fmt.Errorf("decode %s: %w", describe(obj), err)
	}
	return &s, nil
}
