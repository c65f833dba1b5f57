package phases

import (
	"crypto/x509"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// A rotateWorld is a control plane, whose loop runs what the manifests say, and a
// rotation of all of its authorities.
type rotateWorld struct {
	*renewWorld
	o     RotateOptions
	turns map[string]certs.Turn
}

func newRotateWorld(t *testing.T) *rotateWorld {
	w := &rotateWorld{renewWorld: newRenewWorld(t), turns: map[string]certs.Turn{}}
	for _, component := range renewComponents() {
		w.runs(component)
	}
	w.o = RotateOptions{Places: w.renewWorld.o.Places, Rollout: w.renewWorld.o.Rollout, Keys: map[string][]byte{}}
	w.o.Rotation.ID = "one"
	for _, name := range []string{"ca", "front-proxy-ca", "etcd-ca"} {
		s, err := certs.Succeed(certs.Turn{Name: name}.Files(w.o.Places), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		a := RotatedAuthority{name, string(s.Old), string(s.New), string(s.Cross)}
		w.o.Rotation.Authorities = append(w.o.Rotation.Authorities, a)
		w.o.Keys[name] = s.Key
		if w.turns[name], err = certs.ParseTurn(name, s.Old, s.New, s.Cross); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// runs has a pod of a component run by a manifest like kubeadm's: without a hash.
func (w *rotateWorld) runs(component string) {
	manifest := "metadata: {name: " + component + "}\nspec: {containers: [{command: [a"
	if component == config.ComponentControllerManager {
		manifest += ", --cluster-signing-cert-file=" + w.tree().CA.Cert + ", --root-ca-file=" + w.tree().CA.Cert
	}
	if component == config.ComponentAPIServer {
		manifest += ", --etcd-cafile=" + w.tree().EtcdCA.Cert
	}
	manifest += "]}]}\n"
	l := &rolloutWorld{t: w.t, running: manifest, since: time.Now()}
	l.path = filepath.Join(w.renewWorld.o.Rollout.Manifests, component+".yaml")
	l.write(manifest)
	w.loops[component] = l
}

func (w *rotateWorld) steps(stage RotationStage) []Step {
	w.t.Helper()
	steps, err := RotateStage(w.o, stage)
	if err != nil {
		w.t.Fatal(err)
	}
	return steps
}

// renewed is what the loop does on its own between two stages.
func (w *rotateWorld) renewed() {
	w.t.Helper()
	for _, h := range certs.Hold(w.o.Places) {
		if h.Rotates && !w.turns[h.CA].Signs(h.Certificate) {
			if err := h.Renew(0, time.Now()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// stage brings the node to a stage.
func (w *rotateWorld) stage(stage RotationStage) []string {
	w.t.Helper()
	if stage == RotationDrop {
		w.renewed()
	}
	return w.run(w.steps(stage)...)
}

// trusted tells in words whom a file of the authority trusts.
func (w *rotateWorld) trusted(file certs.Trusting) string {
	w.t.Helper()
	var named []string
	turn := w.turns[file.CA]
	_, err := file.Plan(func(all []*x509.Certificate) []*x509.Certificate {
		for _, c := range all {
			switch {
			case c.Equal(turn.Old):
				named = append(named, "old")
			case c.Equal(turn.New):
				named = append(named, "new")
			default:
				named = append(named, c.Subject.String())
			}
		}
		return all
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(named, " ")
}

// signer is the certificate that the controller manager signs with: what its flag
// says, and whose certificate lies there.
func (w *rotateWorld) signer() string {
	w.t.Helper()
	manifest := w.loops[config.ComponentControllerManager].current()
	_, rest, _ := strings.Cut(manifest, "--cluster-signing-cert-file=")
	path := strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == '\n' })[0]
	all, err := certs.ReadBundle(path)
	if err != nil || len(all) != 1 {
		w.t.Fatalf("it signs with %d certificates: %v", len(all), err)
	}
	whose := "old"
	if all[0].Equal(w.turns["ca"].New) {
		whose = "new"
	}
	return filepath.Base(path) + " " + whose
}

// replaced are the pods that changes have replaced.
func replacedBy(changes []string) []string {
	var pods []string
	for _, change := range changes {
		if pod, ok := strings.CutPrefix(change, "wait for the new "); ok {
			pods = append(pods, pod)
		}
	}
	return pods
}

// Every stage has the files trust, the keys sign and exactly those pods replaced
// that it says.
func TestRotationStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRotateWorld(t)
		for _, c := range []struct {
			stage            RotationStage
			bundles, confs   string
			signer, leavesOf string
			replaced         []string
		}{
			{"", "old", "old", "ca.crt old", "old", nil},
			{RotationTrust, "old new", "old new", "ca-signing.crt old", "old", []string{"kube-controller-manager"}},
			{RotationIssue, "new old", "old new", "ca-signing.crt new", "new", []string{"kube-controller-manager", "kube-scheduler", "kube-apiserver"}},
			{RotationRenew, "new old", "old new", "ca-signing.crt new", "new", nil},
			{RotationDrop, "new", "new", "ca.crt new", "new", []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"}},
		} {
			if c.stage != "" {
				if diff := cmp.Diff(c.replaced, replacedBy(w.stage(c.stage))); diff != "" {
					t.Errorf("%s: %s", c.stage, diff)
				}
				if again := w.run(w.steps(c.stage)...); again != nil {
					t.Errorf("%s again: %q", c.stage, again)
				}
			}
			for _, file := range w.o.Places.Trusting() {
				want := c.confs
				if file.Bundle {
					want = c.bundles
				}
				if got := w.trusted(file); got != want {
					t.Errorf("%s: %s trusts %q, want %q", c.stage, file.Path, got, want)
				}
			}
			if got := w.signer(); got != c.signer {
				t.Errorf("%s: it signs with %q, want %q", c.stage, got, c.signer)
			}
			for _, h := range certs.Hold(w.o.Places) {
				if h.CA == "" || h.Rotates {
					continue
				}
				if is, want := w.turns[h.CA].Signs(h.Certificate), c.leavesOf == "new"; is != want || h.Err != nil {
					t.Errorf("%s: %s is signed by the new authority: %t, %v", c.stage, h.Name, is, h.Err)
				}
			}
		}
		if left := w.asides(); left != nil {
			t.Errorf("left: %q", left)
		}
		if left, err := filepath.Glob(filepath.Join(w.o.Places.PKI, "*signing*")); err != nil || left != nil {
			t.Errorf("left: %q, %v", left, err)
		}
		w.hashesFit()
	})
}

// hashesFit checks that init or an upgrade would find pods as they are to be.
func (w *rotateWorld) hashesFit() {
	w.t.Helper()
	for _, component := range renewComponents() {
		if hash, err := templates.HashOf([]byte(w.loops[component].running)); err != nil || hash != w.renewWorld.o.hashOf(component) {
			w.t.Errorf("%s runs with the hash %q, %v", component, hash, err)
		}
	}
}

// believed checks that whoever trusts one authority alone believes what this node
// shows.
func (w *rotateWorld) believed(when string, root func(certs.Turn) *x509.Certificate) {
	w.t.Helper()
	for _, path := range []string{w.tree().APIServer.Cert, w.tree().EtcdServer.Cert, w.tree().EtcdPeer.Cert, w.tree().APIServerEtcdClient.Cert, w.tree().FrontProxyClient.Cert} {
		name := "ca"
		switch {
		case strings.Contains(path, "etcd"):
			name = "etcd-ca"
		case strings.Contains(path, "front-proxy"):
			name = "front-proxy-ca"
		}
		if err := believes(root(w.turns[name]), path); err != nil {
			w.t.Errorf("%s: %s: %v", when, path, err)
		}
	}
}

func believes(root *x509.Certificate, path string) error {
	chain, err := certs.ReadBundle(path)
	if err != nil {
		return err
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	o.Roots.AddCert(root)
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err = chain[0].Verify(o)
	return err
}

// Killed after every single change, it goes on where it was; and at no moment does
// the node show what those do not believe who have not heard of the new authority.
func TestRotationGoesOnAfterEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRotateWorld(t)
		for _, stage := range []RotationStage{RotationTrust, RotationIssue, RotationDrop} {
			if stage == RotationDrop {
				w.renewed()
			}
			for n := 0; w.killAfter(1, w.steps(stage)...); n++ {
				if n > 100 {
					t.Fatalf("%s comes to no end", stage)
				}
				w.believed(string(stage), func(turn certs.Turn) *x509.Certificate { return turn.Old })
			}
		}
		for _, file := range w.o.Places.Trusting() {
			if got := w.trusted(file); got != "new" {
				t.Errorf("%s trusts %q", file.Path, got)
			}
		}
		w.believed("at the end", func(turn certs.Turn) *x509.Certificate { return turn.New })
		if got := w.signer(); got != "ca.crt new" {
			t.Errorf("it signs with %q", got)
		}
		if left := w.asides(); left != nil {
			t.Errorf("left: %q", left)
		}
		w.hashesFit()
	})
}

// Where a pod does not get well, what it reads is as it was.
func TestRotationReturns(t *testing.T) {
	for _, c := range []struct {
		stage     RotationStage
		component string
		file      func(certs.Paths, certs.KubeconfigPaths) string
	}{
		{RotationTrust, config.ComponentControllerManager, func(p certs.Paths, _ certs.KubeconfigPaths) string { return p.CA.Cert }},
		{RotationIssue, config.ComponentScheduler, func(_ certs.Paths, p certs.KubeconfigPaths) string { return p.Scheduler }},
		{RotationDrop, config.ComponentEtcd, func(p certs.Paths, _ certs.KubeconfigPaths) string { return p.EtcdCA.Cert }},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newRotateWorld(t)
			for _, before := range []RotationStage{RotationTrust, RotationIssue} {
				if c.stage == before {
					break
				}
				w.stage(before)
			}
			w.renewed()
			path := c.file(w.tree(), certs.KubeconfigTree(w.dirs.Kubernetes))
			was, l := read(t, path), w.loops[c.component]
			ran, well := l.running, w.o.Rollout.Components
			w.o.Rollout.Components = lookFunc(func() ([]Component, error) {
				all, err := w.look()
				i := slices.IndexFunc(all, func(one Component) bool { return one.Pod == c.component })
				if l.running != ran {
					all[i].State, all[i].ExitCode, all[i].Restarts = ContainerExited, 1, int(time.Since(l.since)/time.Second)
				}
				return all, err
			})
			_, err := runSteps(t.Context(), Runner{}, w.steps(c.stage)...)
			wantError(t, err, c.component+" runs with its old manifest again", "")
			if read(t, path) != was || l.running != ran {
				t.Errorf("%s: %s is another, or it runs %s", c.stage, path, l.running)
			}
			w.o.Rollout.Components = well
			w.stage(c.stage) // once what was wrong is right
			if read(t, path) == was {
				t.Errorf("%s: %s is as before", c.stage, path)
			}
		})
	}
}

// What does not fit is refused before anything is written.
func TestRotationsThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for says, c := range map[string]struct {
			stage  RotationStage
			before []RotationStage
			spoil  func(*rotateWorld)
		}{
			"holds another authority than the one that is rotated": {RotationTrust, nil, func(w *rotateWorld) {
				w.place(w.tree().CA.Cert, []byte(w.o.Rotation.Authorities[1].Old))
			}},
			`this node has not come to the stage "trust" yet`:      {RotationIssue, nil, func(*rotateWorld) {}},
			"the new key of etcd-ca does not hold a private key":   {RotationIssue, []RotationStage{RotationTrust}, func(w *rotateWorld) { delete(w.o.Keys, "etcd-ca") }},
			"the new key of ca does not belong to its certificate": {RotationIssue, []RotationStage{RotationTrust}, func(w *rotateWorld) { w.o.Keys["ca"] = w.o.Keys["etcd-ca"] }},
			"is not signed by the new authority":                   {RotationDrop, []RotationStage{RotationTrust}, func(*rotateWorld) {}},
		} {
			w := newRotateWorld(t)
			for _, stage := range c.before {
				w.stage(stage)
			}
			c.spoil(w)
			changes, err := runSteps(t.Context(), Runner{}, w.steps(c.stage)...)
			if err == nil || !strings.Contains(err.Error(), says) || len(changes) > 0 {
				t.Errorf("error %v after %q, want %q", err, changes, says)
			}
		}
	})
}

func TestRotationsThatAreNone(t *testing.T) {
	w := newWorld(t, "")
	w.makeCerts()
	for _, o := range []RotateOptions{
		{Rotation: Rotation{Authorities: []RotatedAuthority{{Name: "ca", Old: "garbage"}}}},
		{Places: certs.Places{PKI: w.cfg.Cluster.CertificatesDir}},
	} {
		if _, err := RotateStage(o, "none"); err == nil {
			t.Errorf("%+v is taken for a rotation", o)
		}
	}
}
