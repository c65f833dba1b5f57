package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Tokens are completed by their IDs, never by their secrets, and none twice.
func TestCompleteTokens(t *testing.T) {
	secret := func(id, description string) corev1.Secret {
		return corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id, Namespace: metav1.NamespaceSystem}, Type: corev1.SecretTypeBootstrapToken,
			Data: map[string][]byte{"token-id": []byte(id), "token-secret": []byte("0123456789abcdef"), "description": []byte(description)},
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(corev1.SecretList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"}, Items: []corev1.Secret{secret("bbbbbb", "rack 7"), secret("aaaaaa", "")},
		})
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "admin.conf")
	text := "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: " + server.URL + "}}], contexts: [{name: c, context: {cluster: c}}]}"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"delete", ""}, "aaaaaa\nbbbbbb\track 7\n:4\n"},
		{[]string{"delete", "aaaaaa", ""}, "bbbbbb\track 7\n:4\n"},
	} {
		var out, err bytes.Buffer
		if code := run(append([]string{"__complete", "token", "--kubeconfig", kubeconfig}, c.args...), &out, &err); code != 0 {
			t.Errorf("exit code %d: %s", code, err.String())
		}
		if diff := cmp.Diff(c.want, out.String()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.args, diff)
		}
	}
}
