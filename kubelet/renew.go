package kubelet

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
)

// Certificates are those that the node keeps besides the ones it asks the cluster
// for.
type Certificates interface {
	// Look returns what there is, read anew.
	Look(now time.Time) []Certificate
	// Renew renews the certificates of the names, and returns once whoever uses them
	// does so.
	Renew(ctx context.Context, names []string) error
}

// A Certificate is what the loop has to know of one.
type Certificate struct {
	Name    string
	Ends    time.Time // zero if it cannot be read
	Due     time.Time // when it is to be renewed; zero: not by this node
	Soon    bool      // it may be renewed along with another that is due
	Trouble string    // what nothing on this node will put right, in words
}

const (
	// renewLook is how often certificates are looked at whatever they said the last
	// time: they may have been replaced, and timers stand still while a machine sleeps.
	renewLook = 10 * time.Minute
	// renewFirst is how often they are looked for while there are none: the loop
	// runs before init or join have made them.
	renewFirst = 15 * time.Second
	// renewAgain is how soon what failed is tried again, at first and at most.
	renewAgain, renewSeldom = 15 * time.Second, time.Hour
	// troubleAgain is how often the same trouble is told.
	troubleAgain = 24 * time.Hour
)

// A renewer renews certificates in time.
type renewer struct {
	certificates Certificates
	events       *events
	log          *slog.Logger
	renewals     *prometheus.CounterVec
	told         map[string]time.Time // trouble, by its text
	failed       int                  // in a row
}

// renewMetrics are the end of each certificate, and how often renewing came to what.
type renewMetrics struct {
	renewals *prometheus.CounterVec
	ends     *prometheus.Desc
	k        *kubelet
}

func newRenewals() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "boot_certificate_renewals_total", Help: "Attempts to renew certificates that were due, by what came of them.",
	}, []string{"result"})
}

// Describe names the metrics.
func (m renewMetrics) Describe(to chan<- *prometheus.Desc) {
	m.renewals.Describe(to)
	to <- m.ends
}

// Collect looks at the files.
func (m renewMetrics) Collect(to chan<- prometheus.Metric) {
	m.renewals.Collect(to)
	now := time.Now()
	for _, c := range m.k.o.Certificates.Look(now) {
		if !c.Ends.IsZero() {
			to <- prometheus.MustNewConstMetric(m.ends, prometheus.GaugeValue, c.Ends.Sub(now).Truncate(time.Second).Seconds(), c.Name)
		}
	}
}

// registerRenewals adds the metrics of certificates, where there are any.
func (k *kubelet) registerRenewals(r *prometheus.Registry) {
	if k.o.Certificates == nil {
		return
	}
	r.MustRegister(renewMetrics{k.metrics.renewals, prometheus.NewDesc(
		"boot_certificate_ttl_seconds", "Seconds until a certificate of the node ends, negative if it has.", []string{"name"}, nil), k})
}

// renewCertificates renews what is due until ctx ends.
func (k *kubelet) renewCertificates(ctx context.Context) {
	if k.o.Certificates == nil {
		return
	}
	r := &renewer{certificates: k.o.Certificates, events: k.events, log: k.o.Logger, renewals: k.metrics.renewals, told: map[string]time.Time{}}
	r.run(ctx)
}

func (r *renewer) run(ctx context.Context) {
	for {
		wait := r.round(ctx)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// round looks once, renews what is due, and returns how soon to look again.
func (r *renewer) round(ctx context.Context) time.Duration {
	now := time.Now().Round(0) // by the clock on the wall: that of the process stands still while the machine sleeps
	all := r.certificates.Look(now)
	r.tell(ctx, all, now)
	names := due(all, now)
	if len(names) == 0 {
		return untilDue(all, now)
	}
	if err := r.certificates.Renew(ctx, names); err != nil {
		return r.fail(ctx, names, err)
	}
	r.failed = 0
	r.renewals.WithLabelValues("success").Inc()
	r.events.ofNode(v1.EventTypeNormal, "CertificatesRenewed", "Renewed "+strings.Join(names, ", "))
	return untilDue(r.certificates.Look(now), now)
}

// fail tells of an attempt that came to nothing, and returns how soon to try again.
func (r *renewer) fail(ctx context.Context, names []string, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	r.renewals.WithLabelValues("error").Inc()
	r.log.LogAttrs(ctx, slog.LevelError, "renew certificates", slog.Any("names", names), slog.Any("err", err))
	r.events.ofNode(v1.EventTypeWarning, "CertificateRenewalFailed", firstOf("Renew "+strings.Join(names, ", ")+": "+err.Error()))
	wait := min(renewAgain<<min(r.failed, 10), renewSeldom)
	r.failed++
	return wait
}

// firstOf cuts what the API would refuse for its length. The whole is in the log.
func firstOf(message string) string {
	const most = 1000
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + "…"
}

// due are the names of what is to be renewed now: where anything is, what soon would
// be comes along.
func due(all []Certificate, now time.Time) []string {
	isDue := func(c Certificate) bool { return !c.Due.IsZero() && !c.Due.After(now) }
	if !slices.ContainsFunc(all, isDue) {
		return nil
	}
	var names []string
	for _, c := range all {
		if isDue(c) || !c.Due.IsZero() && c.Soon {
			names = append(names, c.Name)
		}
	}
	return names
}

// untilDue is how long nothing has to be looked at.
func untilDue(all []Certificate, now time.Time) time.Duration {
	if len(all) == 0 {
		return renewFirst
	}
	wait := renewLook
	for _, c := range all {
		if !c.Due.IsZero() {
			wait = min(wait, c.Due.Sub(now))
		}
	}
	return max(wait, time.Second)
}

// tell tells of what nobody on this node will put right, once a day.
func (r *renewer) tell(ctx context.Context, all []Certificate, now time.Time) {
	for _, c := range all {
		if c.Trouble == "" || now.Sub(r.told[c.Trouble]) < troubleAgain {
			continue
		}
		r.told[c.Trouble] = now
		r.log.LogAttrs(ctx, slog.LevelWarn, "certificate is in trouble", slog.String("name", c.Name), slog.String("trouble", c.Trouble))
		r.events.ofNode(v1.EventTypeWarning, "CertificateExpiring", c.Trouble)
	}
}
