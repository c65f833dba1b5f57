package phases

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"boot.internal/certs"
	"boot.internal/config"
)

const someKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// joining is a world whose certificates are uploaded, and the phase of a node that
// downloads them into another directory.
func joining(t *testing.T) (*world, downloadCerts, certs.Paths) {
	t.Helper()
	w := running(t, "")
	w.runPhase(uploadCerts{w.api(), someKey, sharedFiles(w.tree(), nil)})
	to := certs.Tree(filepath.Join(t.TempDir(), "pki"))
	ca, err := os.ReadFile(w.tree().CA.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return w, downloadCerts{w.api(), someKey, sharedFiles(to, nil), ca}, to
}

func TestDownloadedCertsAreThoseUploaded(t *testing.T) {
	w, p, to := joining(t)
	if changes := w.runPhase(p); len(changes) != 1 || !strings.Contains(changes[0], "from Secret kube-system/kubeadm-certs") {
		t.Errorf("changed %q", changes)
	}
	for name, path := range sharedFiles(w.tree(), nil) {
		want, _ := os.ReadFile(path)
		got, err := os.ReadFile(p.files[name])
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
	for path, want := range map[string]os.FileMode{to.CA.Key: 0o600, to.SA.Key: 0o600, to.EtcdCA.Key: 0o600, to.EtcdCA.Cert: 0o644} {
		if fi, err := os.Stat(path); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
	p.key = "" // nobody needs it any more
	if changes := w.plan(p); len(changes) > 0 {
		t.Errorf("left: %q", changes)
	}
}

// A key that is missing is the sign of an external authority, or of a download that
// was killed; what was placed by hand stays.
func TestWhatIsThereStays(t *testing.T) {
	w, p, to := joining(t)
	w.runPhase(p)
	for _, path := range []string{to.FrontProxyCA.Cert, to.CA.Key} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.Stat(to.SA.Key)
	w.runPhase(p)
	if !exists(to.FrontProxyCA.Cert) || exists(to.CA.Key) {
		t.Error("the wrong file was downloaded")
	}
	if after, _ := os.Stat(to.SA.Key); !os.SameFile(before, after) {
		t.Error("a file that was there was written")
	}
}

func TestCertsThatCanNotBeDownloaded(t *testing.T) {
	forbidden := func(r *http.Request) *apierrors.StatusError {
		if !strings.HasSuffix(r.URL.Path, "/kubeadm-certs") {
			return nil
		}
		return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, certsName, nil)
	}
	for name, c := range map[string]struct {
		change       func(*world, *downloadCerts)
		text, advice string
	}{
		"no key":      {func(_ *world, p *downloadCerts) { p.key = "" }, "ca.key", "--certificate-key"},
		"half a key":  {func(_ *world, p *downloadCerts) { p.key = config.Secret(someKey[:32]) }, "not 32 bytes", "boot init --upload-certs"},
		"another key": {func(_ *world, p *downloadCerts) { p.key = config.Secret(strings.Repeat("0", 64)) }, "does not open", "boot init phase upload-certs"},
		"expired": {func(w *world, _ *downloadCerts) {
			target := parse("/api/v1/namespaces/kube-system/secrets/kubeadm-certs")
			if err := w.tracker.Delete(target.gvr, target.namespace, target.name); err != nil {
				w.t.Fatal(err)
			}
		}, "or no longer", "two hours"},
		"no right":        {func(w *world, _ *downloadCerts) { w.fail = forbidden }, "forbidden", "uploaded"},
		"another cluster": {func(w *world, p *downloadCerts) { p.ca, _ = os.ReadFile(w.tree().EtcdCA.Cert) }, "of another cluster", "boot init phase upload-certs"},
		"another cluster's here": {func(w *world, p *downloadCerts) {
			foreign, _ := os.ReadFile(w.tree().EtcdCA.Cert)
			if err := os.MkdirAll(filepath.Dir(p.files["ca.crt"]), 0o755); err != nil {
				w.t.Fatal(err)
			}
			if err := os.WriteFile(p.files["ca.crt"], foreign, 0o644); err != nil {
				w.t.Fatal(err)
			}
		}, "the authority of another cluster", "boot reset"},
	} {
		t.Run(name, func(t *testing.T) {
			w, p, to := joining(t)
			c.change(w, &p)
			_, err := runSteps(t.Context(), Runner{}, Step{Name: "download-certs", Phase: p})
			wantError(t, err, c.text, c.advice)
			if exists(to.SA.Key) {
				t.Error("something was written")
			}
			if key := p.key.Reveal(); key != "" && strings.Contains(err.Error(), key) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
}
