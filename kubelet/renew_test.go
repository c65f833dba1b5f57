package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// fakeCertificates are renewed for a year, or fail.
type fakeCertificates struct {
	mu      sync.Mutex // guards the fields below
	all     []Certificate
	err     error
	renewed [][]string
	looks   int
}

// with looks at what the fields are, or changes them.
func (f *fakeCertificates) with(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeCertificates) Look(time.Time) []Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return slices.Clone(f.all)
}

func (f *fakeCertificates) Renew(_ context.Context, names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewed = append(f.renewed, names)
	if f.err != nil {
		return f.err
	}
	for i := range f.all {
		if slices.Contains(names, f.all[i].Name) {
			f.all[i].Due, f.all[i].Soon = time.Now().Add(365*24*time.Hour), false
		}
	}
	return nil
}

func newRenewer(f *fakeCertificates) *renewer {
	log := slog.New(slog.DiscardHandler)
	return &renewer{certificates: f, events: newEvents("n1", log), log: log, renewals: newRenewals(), told: map[string]time.Time{}}
}

// told returns the reasons and messages of all events.
func (r *renewer) toldEvents() []string {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	var all []string
	for _, e := range r.events.pending {
		all = append(all, e.reason+": "+e.message)
	}
	return all
}

func TestRenewsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soon := time.Now().Add(90 * time.Second)
		f := &fakeCertificates{all: []Certificate{
			{Name: "apiserver", Due: soon}, {Name: "admin.conf", Due: soon.Add(time.Hour), Soon: true}, {Name: "ca"}, {Name: "kubelet.conf", Due: soon.Add(time.Hour)},
		}}
		r := newRenewer(f)
		go r.run(t.Context())
		time.Sleep(89 * time.Second)
		synctest.Wait()
		f.with(func() {
			if f.renewed != nil {
				t.Errorf("renewed before: %q", f.renewed)
			}
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(f.renewed) != 1 || !slices.Equal(f.renewed[0], []string{"apiserver", "admin.conf"}) {
			t.Errorf("renewed %q", f.renewed)
		}
		if got := r.toldEvents(); len(got) != 1 || got[0] != "CertificatesRenewed: Renewed apiserver, admin.conf" {
			t.Errorf("told %q", got)
		}
		if f.looks > 5 {
			t.Errorf("looked %d times", f.looks)
		}
	})
}

// What fails is tried again, less and less often, and told each time.
func TestRenewsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCertificates{all: []Certificate{{Name: "apiserver", Due: time.Now()}}, err: errors.New("no space left" + strings.Repeat(".", 2000))}
		r := newRenewer(f)
		go r.run(t.Context())
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		f.with(func() {
			if n := len(f.renewed); n < 20 || n > 40 {
				t.Errorf("tried %d times in a day", n)
			}
		})
		if got := r.toldEvents()[0]; !strings.HasPrefix(got, "CertificateRenewalFailed: Renew apiserver: no space left") || len(got) > 1100 {
			t.Errorf("told %q", got)
		}
		f.with(func() { f.err = nil })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := r.toldEvents(); got[len(got)-1] != "CertificatesRenewed: Renewed apiserver" || r.failed != 0 {
			t.Errorf("told %q", got[len(got)-1])
		}
		registry := prometheus.NewRegistry()
		registry.MustRegister(r.renewals)
		got, err := registry.Gather()
		if err != nil || len(got[0].Metric) != 2 || got[0].Metric[1].Counter.GetValue() != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestTellsOfTroubleOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCertificates{all: []Certificate{{Name: "ca", Trouble: "the authority ca ends on Friday"}}}
		r := newRenewer(f)
		go r.run(t.Context())
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if got := r.toldEvents(); len(got) != 2 || got[0] != "CertificateExpiring: the authority ca ends on Friday" || f.renewed != nil {
			t.Errorf("told %q, renewed %q", got, f.renewed)
		}
	})
}

// The loop runs before there is anything to renew.
func TestLooksForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCertificates{}
		r := newRenewer(f)
		go r.run(t.Context())
		time.Sleep(time.Minute)
		synctest.Wait()
		f.with(func() { f.all = []Certificate{{Name: "apiserver", Due: time.Now().Add(time.Minute)}} })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(f.renewed) != 1 {
			t.Errorf("renewed %q", f.renewed)
		}
	})
}
