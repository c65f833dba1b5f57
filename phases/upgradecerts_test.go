package phases

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// replaced are the phases that replace the scheduler by one that begins with head,
// and renew its certificates, as a run that begins now has them.
func (w *renewWorld) replaced(head string) []Step {
	o := UpgradeOptions{Rollout: w.o.Rollout, Renewal: w.o}
	o.Renewal.Held = UpgradeRenewal(certs.Hold(w.o.Places), time.Now())
	return o.replace("control-plane/scheduler", config.ComponentScheduler, func([]byte) ([]byte, error) {
		return templates.WithHash([]byte(head+"\nmetadata: {annotations: {}}\n"), w.o.hashOf(config.ComponentScheduler))
	})
}

// note is what a run writes down when it begins.
func (w *renewWorld) note() {
	w.t.Helper()
	data, err := json.Marshal(UpgradeNote{Certificates: serials(UpgradeRenewal(certs.Hold(w.o.Places), time.Now()))})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(w.dirs.State, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(notePath(w.dirs.State), data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *renewWorld) serial(name string) string { return serials(w.find(name))[name] }

// Certificates are renewed with the component that is replaced, those of the others
// are not, and nothing is where nothing is replaced.
func TestUpgradeRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRenewWorld(t)
		scheduler, manager := w.serial("scheduler.conf"), w.serial("controller-manager.conf")
		w.note()
		changes, err := runSteps(t.Context(), Runner{}, w.replaced("a: new")...)
		if err != nil {
			t.Fatal(err)
		}
		renewal := slices.IndexFunc(changes, func(c string) bool { return strings.HasPrefix(c, "renew ") })
		rewrite := slices.IndexFunc(changes, func(c string) bool { return strings.HasPrefix(c, "rewrite ") })
		if renewal < 0 || rewrite < renewal {
			t.Errorf("it did %q", changes)
		}
		if w.serial("scheduler.conf") == scheduler || w.serial("controller-manager.conf") != manager {
			t.Error("other certificates than the scheduler's are new")
		}
		if !strings.HasPrefix(w.loops[config.ComponentScheduler].current(), "a: new") {
			t.Error("it was not replaced")
		}
		if again, err := runSteps(t.Context(), Runner{}, w.replaced("a: new")...); err != nil || len(again) > 0 {
			t.Errorf("again: %q, %v", again, err)
		}
	})
}

// A run that was killed after it had renewed does not do so twice.
func TestUpgradeRenewalGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRenewWorld(t)
		w.note()
		w.run(w.replaced("a: new")[:1]...)
		renewed := w.serial("scheduler.conf")
		changes := w.run(w.replaced("a: new")...)
		if slices.ContainsFunc(changes, func(c string) bool { return strings.HasPrefix(c, "renew ") }) || w.serial("scheduler.conf") != renewed {
			t.Errorf("it renewed again: %q", changes)
		}
	})
}

// Where the old component comes back, so does what it reads; and with the next try
// it is renewed.
func TestUpgradeRenewalReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRenewWorld(t)
		before := w.serial("scheduler.conf")
		w.note()
		_, err := runSteps(t.Context(), Runner{}, w.replaced("a: bad")...)
		wantError(t, err, "kube-scheduler runs with its old manifest again", "")
		if w.serial("scheduler.conf") != before {
			t.Error("the certificate is not what it was")
		}
		w.run(w.replaced("a: new")...)
		if w.serial("scheduler.conf") == before {
			t.Error("it was not renewed")
		}
	})
}

// Every certificate that goes with a component exists, and one whose authority's key
// is elsewhere is left alone.
func TestRenewedWith(t *testing.T) {
	for _, component := range renewComponents() {
		for _, name := range renewedWith(component) {
			if !slices.Contains(certs.Names(), name) {
				t.Errorf("%s: there is no certificate %s", component, name)
			}
		}
	}
	w := newRenewWorld(t)
	if err := os.Remove(w.tree().CA.Key); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range UpgradeRenewal(certs.Hold(w.o.Places), time.Now()) {
		names = append(names, h.Name)
	}
	if got, want := strings.Join(names, " "), "etcd-server etcd-peer etcd-healthcheck-client apiserver-etcd-client front-proxy-client"; got != want {
		t.Errorf("without the key of ca: %s, want %s", got, want)
	}
}
