package kubelet

import (
	"crypto/tls"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// identityMetrics are about who the node and its pods are to others, named as
// the kubelet's.
type identityMetrics struct {
	pluginErrors *prometheus.CounterVec
	pluginTook   *prometheus.HistogramVec
	pluginConfig *prometheus.GaugeVec
	clientFailed prometheus.Counter
	serverFailed prometheus.Counter
	serverLived  prometheus.Histogram
}

func newIdentityMetrics() *identityMetrics {
	plugin := []string{"plugin_name"}
	return &identityMetrics{
		pluginErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_credential_provider_plugin_errors_total", Help: "Number of errors from credential provider plugin",
		}, plugin),
		pluginTook: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_credential_provider_plugin_duration", Help: "Duration of execution in seconds for credential provider plugin",
		}, plugin),
		pluginConfig: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubelet_credential_provider_config_info",
			Help: "Information about the last applied credential provider configuration with hash as label",
		}, []string{"hash"}),
		clientFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubelet_certificate_manager_client_expiration_renew_errors", Help: "Counter of certificate renewal errors.",
		}),
		serverFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubelet_server_expiration_renew_errors", Help: "Counter of certificate renewal errors.",
		}),
		serverLived: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kubelet_certificate_manager_server_rotation_seconds",
			Help:    "Histogram of the number of seconds the previous certificate lived before being rotated.",
			Buckets: []float64{60, 3600, 14400, 86400, 604800, 2592000, 7776000, 15552000, 31104000, 124416000},
		}),
	}
}

func (m *identityMetrics) register(r *prometheus.Registry, k *kubelet) {
	r.MustRegister(m.pluginErrors, m.pluginTook, m.pluginConfig, m.clientFailed)
	if k.o.Config.RotateCertificates {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kubelet_certificate_manager_client_ttl_seconds",
			Help: "Seconds until the node's client certificate ends, negative if it has; +Inf if there is none.",
		}, func() float64 { return secondsLeft(k.identity.clientCertificate()) }))
	}
	if k.identity.serving != nil {
		r.MustRegister(m.serverFailed, m.serverLived, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kubelet_certificate_manager_server_ttl_seconds",
			Help: "Seconds until the node's serving certificate ends, negative if it has; +Inf if there is none.",
		}, func() float64 { return secondsLeft(k.identity.signed()) }))
	}
}

// secondsLeft returns how long a certificate is valid.
func secondsLeft(c *tls.Certificate) float64 {
	if c == nil || c.Leaf == nil {
		return math.Inf(1)
	}
	return math.Trunc(time.Until(c.Leaf.NotAfter).Seconds())
}

// configured notes the configuration of credential providers by its hash.
func (m *identityMetrics) configured(hash string) { m.pluginConfig.WithLabelValues(hash).Set(1) }

// ran notes a run of a credential provider.
func (m *identityMetrics) ran(plugin string, took time.Duration, err error) {
	m.pluginTook.WithLabelValues(plugin).Observe(took.Seconds())
	if err != nil {
		m.pluginErrors.WithLabelValues(plugin).Inc()
	}
}
