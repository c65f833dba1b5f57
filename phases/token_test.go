package phases

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/config"
	"boot.internal/templates"
)

// tokens is the phase, without the rules every run makes.
func (w *world) tokens() Phase {
	p := bootstrapToken{w.api(), w.cfg.Init.BootstrapTokens, w.cfg.TokenGenerated, w.tree().CA.Cert, SharedURL(w.cfg)}
	return PlanFunc(p.planTokens)
}

func aToken(id, secret string, edit func(*corev1.Secret)) *corev1.Secret {
	s := asSecret(config.BootstrapToken{
		Token:  config.Secret(id + "." + secret),
		TTL:    &metav1.Duration{Duration: 24 * time.Hour},
		Usages: []string{"signing", "authentication"},
		Groups: []string{joiningNodes},
	})
	if edit != nil {
		edit(s)
	}
	return s
}

func asSecret(token config.BootstrapToken) *corev1.Secret {
	obj, err := templates.BootstrapToken(token, time.Now())
	if err != nil {
		panic(err)
	}
	s, err := toSecret(obj)
	if err != nil {
		panic(err)
	}
	return s
}

func TestTokens(t *testing.T) {
	const sameID, sameSecret, otherSecret = "abcdef", "0123456789abcdef", "fedcba9876543210"
	expired := func(s *corev1.Secret) { s.Data["expiration"] = []byte("2020-01-01T00:00:00Z") }
	for _, tt := range []struct {
		name   string
		config string
		have   *corev1.Secret
		want   []string // changes; a generated token's name is masked
	}{
		{"asked for", withToken, nil, []string{"create Secret kube-system/bootstrap-token-abcdef"}},
		{"asked for and there", withToken, aToken(sameID, sameSecret, nil), nil},
		{"asked for and there for less time", withToken, aToken(sameID, sameSecret, func(s *corev1.Secret) { delete(s.Data, "auth-extra-groups") }), nil},
		{"asked for and ended", withToken, aToken(sameID, sameSecret, expired), []string{"renew Secret kube-system/bootstrap-token-abcdef"}},
		{"another's that ended", withToken, aToken(sameID, otherSecret, expired), []string{"renew Secret kube-system/bootstrap-token-abcdef"}},
		{"generated", "", nil, []string{"create Secret kube-system/bootstrap-token-######"}},
		{"generated, one is usable", "", aToken("zzzzzz", otherSecret, nil), nil},
		{"generated, one ended", "", aToken("zzzzzz", otherSecret, expired), []string{"create Secret kube-system/bootstrap-token-######"}},
		{"generated, one for other uses", "", aToken("zzzzzz", otherSecret, func(s *corev1.Secret) { delete(s.Data, "usage-bootstrap-signing") }), []string{"create Secret kube-system/bootstrap-token-######"}},
		{"generated, one for others", "", aToken("zzzzzz", otherSecret, func(s *corev1.Secret) { delete(s.Data, "auth-extra-groups") }), []string{"create Secret kube-system/bootstrap-token-######"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := running(t, tt.config)
			if tt.have != nil {
				w.put(tt.have)
			}
			got := w.runPhase(w.tokens())
			if w.cfg.TokenGenerated {
				id, _, _ := strings.Cut(w.cfg.Init.BootstrapTokens[0].Token.Reveal(), ".")
				for i := range got {
					got[i] = strings.ReplaceAll(got[i], id, "######")
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if again := w.runPhase(w.tokens()); len(again) > 0 {
				t.Errorf("again %q", again)
			}
			join, err := JoinCommand(t.Context(), w.options())
			if w.cfg.TokenGenerated && (err != nil || len(join) != 6) {
				t.Errorf("nodes join with %q, %v", join, err)
			}
		})
	}
}

func TestTokenOfSomebodyElse(t *testing.T) {
	w := running(t, withToken)
	w.put(aToken("abcdef", "fedcba9876543210", nil))
	_, err := w.tokens().Plan(t.Context())
	wantError(t, err, "the cluster has a bootstrap token abcdef with another secret", "kubectl -n kube-system delete secret bootstrap-token-abcdef")
	if strings.Contains(err.Error(), "0123456789abcdef") || strings.Contains(err.Error(), "fedcba9876543210") {
		t.Errorf("the error shows a secret: %v", err)
	}
}

// A generated token lives from when it is made, and not from when it is planned.
func TestTokenLife(t *testing.T) {
	s := aToken("abcdef", "0123456789abcdef", nil)
	ends, err := time.Parse(time.RFC3339, string(s.Data["expiration"]))
	if err != nil || time.Until(ends) < 23*time.Hour || time.Until(ends) > 24*time.Hour {
		t.Errorf("ends %s, %v", ends, err)
	}
	forever := asSecret(config.BootstrapToken{Token: "abcdef.0123456789abcdef", TTL: &metav1.Duration{}})
	if _, ok := forever.Data["expiration"]; ok {
		t.Errorf("ends %s", forever.Data["expiration"])
	}
}

func TestNoSecretIsShown(t *testing.T) {
	w := running(t, withToken)
	for _, change := range append(w.plan(w.tokens()), w.plan(w.certsUpload())...) {
		if strings.Contains(change, "0123456789abcdef") || strings.Contains(change, certificateKey) {
			t.Errorf("%q shows a secret", change)
		}
	}
}

const certificateKey = "e6a2eb8581237ab72a4f494f30285ec12a9694d750b9785706a83bfcbbbd2204"

func (w *world) certsUpload() Phase {
	return uploadCerts{w.api(), certificateKey, sharedFiles(w.tree(), w.cfg.Cluster.Etcd.External)}
}

// decrypt is written from the description of the format and not with the code
// that encrypts.
func decrypt(t *testing.T, sealed []byte) string {
	t.Helper()
	key, err := hex.DecodeString(certificateKey)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, sealed[:12], sealed[12:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestUploadCerts(t *testing.T) {
	w := running(t, withToken)
	want := []string{
		"create Secret kube-system/kubeadm-certs and the bootstrap token it expires with",
		"create Role kube-system/kubeadm:kubeadm-certs",
		"create RoleBinding kube-system/kubeadm:kubeadm-certs",
	}
	if diff := cmp.Diff(want, w.runPhase(w.certsUpload())); diff != "" {
		t.Error(diff)
	}
	if again := w.runPhase(w.certsUpload()); len(again) > 0 {
		t.Errorf("again %q", again)
	}

	var s corev1.Secret
	w.object("/api/v1/namespaces/kube-system/secrets/kubeadm-certs", &s)
	files := map[string]string{
		"ca.crt": w.tree().CA.Cert, "ca.key": w.tree().CA.Key,
		"front-proxy-ca.crt": w.tree().FrontProxyCA.Cert, "front-proxy-ca.key": w.tree().FrontProxyCA.Key,
		"etcd-ca.crt": w.tree().EtcdCA.Cert, "etcd-ca.key": w.tree().EtcdCA.Key,
		"sa.pub": w.tree().SA.Cert, "sa.key": w.tree().SA.Key,
	}
	if len(s.Data) != len(files) {
		t.Errorf("holds %d files", len(s.Data))
	}
	for name, path := range files {
		data, err := os.ReadFile(path)
		if err != nil || decrypt(t, s.Data[name]) != string(data) {
			t.Errorf("%s does not hold %s, %v", name, path, err)
		}
	}
	checkOwner(t, w, s.OwnerReferences)
}

// checkOwner follows the owner to a token that ends in two hours and is good
// for nothing else.
func checkOwner(t *testing.T, w *world, owners []metav1.OwnerReference) {
	t.Helper()
	if len(owners) != 1 || owners[0].Kind != "Secret" || owners[0].UID == "" || owners[0].Controller == nil || !*owners[0].Controller {
		t.Fatalf("owners %v", owners)
	}
	var owner corev1.Secret
	w.object("/api/v1/namespaces/kube-system/secrets/"+owners[0].Name, &owner)
	ends, err := time.Parse(time.RFC3339, string(owner.Data["expiration"]))
	if err != nil || time.Until(ends) > 2*time.Hour || time.Until(ends) < time.Hour {
		t.Errorf("ends %s, %v", ends, err)
	}
	for key := range owner.Data {
		if strings.HasPrefix(key, "usage-") || key == "auth-extra-groups" {
			t.Errorf("the owner is good for %s", key)
		}
	}
}

func TestUploadCertsAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*world, *uploadCerts)
		want   int
	}{
		{"another key", func(_ *world, p *uploadCerts) { p.key = config.Secret(strings.Repeat("ab", 32)) }, 1},
		{"another CA", func(w *world, _ *uploadCerts) {
			if err := os.WriteFile(w.tree().FrontProxyCA.Cert, []byte("new"), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}, 1},
		{"the same", func(*world, *uploadCerts) {}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := running(t, "")
			p := w.certsUpload().(uploadCerts)
			w.runPhase(p)
			tt.change(w, &p)
			if got := w.runPhase(p); len(got) != tt.want {
				t.Errorf("changed %q", got)
			}
		})
	}
}

// The key of an external CA is not on this machine: it is stored empty, which
// is how kubeadm reads "there is none".
func TestUploadCertsOfAnExternalCA(t *testing.T) {
	w := running(t, "")
	if err := os.Remove(w.tree().CA.Key); err != nil {
		t.Fatal(err)
	}
	w.runPhase(w.certsUpload())
	var s corev1.Secret
	w.object("/api/v1/namespaces/kube-system/secrets/kubeadm-certs", &s)
	if data, ok := s.Data["ca.key"]; !ok || len(data) != 0 {
		t.Errorf("ca.key is %x, %v", data, ok)
	}
	if again := w.runPhase(w.certsUpload()); len(again) > 0 {
		t.Errorf("again %q", again)
	}
}

func TestUploadCertsOfAnExternalEtcd(t *testing.T) {
	files := sharedFiles(newWorld(t, "").tree(), &config.ExternalEtcd{CAFile: "/ca", CertFile: "/cert", KeyFile: "/key"})
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"ca.crt", "ca.key", "external-etcd-ca.crt", "external-etcd.crt", "external-etcd.key",
		"front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestUploadCertsRefusesAWrongKey(t *testing.T) {
	w := newWorld(t, "")
	for _, key := range []config.Secret{"", "zz", "abcd"} {
		_, err := uploadCerts{w.api(), key, nil}.Plan(t.Context())
		wantError(t, err, "the certificate key is not 32 bytes in hexadecimal", "openssl rand -hex 32")
	}
}
