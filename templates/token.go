package templates

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"

	"boot.internal/config"
)

// BootstrapToken returns the Secret that makes a token known to the cluster.
// A token that is valid for a time is so from now.
func BootstrapToken(t config.BootstrapToken, now time.Time) (*unstructured.Unstructured, error) {
	id, secret, ok := strings.Cut(t.Token.Reveal(), ".")
	if !ok {
		return nil, errors.New("render a bootstrap token: it has no dot")
	}
	data := map[string][]byte{
		bootstrapapi.BootstrapTokenIDKey:     []byte(id),
		bootstrapapi.BootstrapTokenSecretKey: []byte(secret),
	}
	if t.Description != "" {
		data[bootstrapapi.BootstrapTokenDescriptionKey] = []byte(t.Description)
	}
	if end, ok := expiry(t, now); ok {
		data[bootstrapapi.BootstrapTokenExpirationKey] = []byte(end.UTC().Format(time.RFC3339))
	}
	for _, usage := range t.Usages {
		data[bootstrapapi.BootstrapTokenUsagePrefix+usage] = []byte("true")
	}
	if len(t.Groups) > 0 {
		data[bootstrapapi.BootstrapTokenExtraGroupsKey] = []byte(strings.Join(t.Groups, ","))
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: bootstrapapi.BootstrapTokenSecretPrefix + id, Namespace: metav1.NamespaceSystem},
		Type:       bootstrapapi.SecretTypeBootstrapToken,
		Data:       data,
	})
	if err != nil {
		return nil, fmt.Errorf("render a bootstrap token: %w", err)
	}
	return &unstructured.Unstructured{Object: fields}, nil
}

// expiry returns when a token ends, if it does.
func expiry(t config.BootstrapToken, now time.Time) (time.Time, bool) {
	switch {
	case t.Expires != nil:
		return t.Expires.Time, true
	case t.TTL != nil && t.TTL.Duration > 0:
		return now.Add(t.TTL.Duration), true
	}
	return time.Time{}, false
}
