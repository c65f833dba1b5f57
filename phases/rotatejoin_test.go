package phases

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"boot.internal/certs"
)

// halfway is a world whose cluster's authority is being replaced: both are trusted,
// and the new one signs.
func halfway(t *testing.T) (*world, certs.Turn) {
	t.Helper()
	w := running(t, "")
	s, err := certs.Succeed(w.tree().CA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	turn, err := certs.ParseTurn("ca", s.Old, s.New, s.Cross)
	if err != nil {
		t.Fatal(err)
	}
	writes, err := turn.PlanKey(certs.Places{PKI: w.cfg.Cluster.CertificatesDir}, s.Key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range writes {
		if err := write.Do(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.tree().CA.Cert, slices.Concat(s.New, s.Old), 0o600); err != nil {
		t.Fatal(err)
	}
	return w, turn
}

// A control plane that joins meanwhile, and was told of one of the authorities only,
// gets both, and what vouches for the new one.
func TestJoiningWhileAuthoritiesAreRotated(t *testing.T) {
	w, turn := halfway(t)
	w.runPhase(uploadCerts{w.api(), someKey, sharedFiles(w.tree(), nil)})
	to := certs.Tree(filepath.Join(t.TempDir(), "pki"))
	told, err := os.ReadFile(w.tree().CA.Cert)
	if err != nil {
		t.Fatal(err)
	}
	_, second, _ := strings.Cut(string(told), "-----END CERTIFICATE-----\n")
	p := downloadCerts{w.api(), someKey, sharedFiles(to, nil), []byte(second)} // the old one alone
	w.runPhase(p)
	if got := read(t, to.CA.Cert); got != string(told) {
		t.Errorf("it has %d authorities", strings.Count(got, "BEGIN"))
	}
	cross, err := certs.ReadBundle(to.CA.CrossPath())
	if err != nil || !cross[0].Equal(turn.Cross) {
		t.Errorf("%v, %v", cross, err)
	}
	if _, err := os.Stat(to.EtcdCA.CrossPath()); !os.IsNotExist(err) {
		t.Errorf("for etcd's there is nothing to tell: %v", err)
	}
	if changes := w.plan(p); len(changes) > 0 {
		t.Errorf("left: %q", changes)
	}
	if changes := w.plan(uploadCerts{w.api(), someKey, sharedFiles(w.tree(), nil)}); len(changes) > 0 {
		t.Errorf("to be uploaded again: %q", changes)
	}
}

// What the controller manager signs with holds one certificate, whoever writes its
// manifest.
func TestManifestsWhileAuthoritiesAreRotated(t *testing.T) {
	w, turn := halfway(t)
	steps, err := Init(w.options())
	if err != nil {
		t.Fatal(err)
	}
	if steps, err = Only(steps, "certs/ca"); err != nil {
		t.Fatal(err)
	}
	w.run(steps...)
	if steps, err = Init(w.options()); err != nil {
		t.Fatal(err)
	}
	if steps, err = Only(steps, "control-plane/controller-manager"); err != nil {
		t.Fatal(err)
	}
	w.run(steps...)
	manifest := read(t, filepath.Join(w.cfg.Kubelet.StaticPodPath, "kube-controller-manager.yaml"))
	path := certs.SigningPath(w.cfg.Cluster.CertificatesDir)
	if !strings.Contains(manifest, "--cluster-signing-cert-file="+path+"\n") {
		t.Error(manifest)
	}
	if all, err := certs.ReadBundle(path); err != nil || len(all) != 1 || !all[0].Equal(turn.New) {
		t.Errorf("%v, %v", all, err)
	}
}
