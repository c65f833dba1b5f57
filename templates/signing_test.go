package templates

import (
	"strings"
	"testing"
)

func TestWithSigningCert(t *testing.T) {
	before := []string{"/pki/ca.crt", "/pki/ca-signing.crt"}
	manifest := func(flags string) []byte {
		return []byte("spec:\n  containers:\n  - command:\n    - kube-controller-manager\n    - --root-ca-file=/pki/ca.crt\n    - " +
			strings.ReplaceAll(flags, " ", "\n    - ") + "\n")
	}
	for _, c := range []struct{ flags, want string }{
		{"--cluster-signing-cert-file=/pki/ca.crt", "--cluster-signing-cert-file=/new"},
		{"--cluster-signing-cert-file=/pki/ca-signing.crt", "--cluster-signing-cert-file=/new"},
		{"--cluster-signing-kubelet-client-cert-file=/pki/ca.crt", "--cluster-signing-kubelet-client-cert-file=/new"},
		{"--cluster-signing-cert-file=/elsewhere/ca.crt", "--cluster-signing-cert-file=/elsewhere/ca.crt"},
		{"--cluster-signing-cert-file=", "--cluster-signing-cert-file="},
		{"--cluster-signing-key-file=/pki/ca.crt --client-ca-file=/pki/ca.crt", "--cluster-signing-key-file=/pki/ca.crt --client-ca-file=/pki/ca.crt"},
	} {
		got, err := WithSigningCert(manifest(c.flags), before, "/new")
		if err != nil || string(got) != string(manifest(c.want)) {
			t.Errorf("%s becomes %s, %v", c.flags, got, err)
		}
	}
	if _, err := WithSigningCert([]byte("a: [b"), before, "/new"); err == nil {
		t.Error("garbage is taken for a manifest")
	}
}
