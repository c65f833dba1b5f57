package kubelet

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// identityMetrics are about who the node and its pods are to others, named as
// the kubelet's.
type identityMetrics struct {
	pluginErrors *prometheus.CounterVec
	pluginTook   *prometheus.HistogramVec
	pluginConfig *prometheus.GaugeVec
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
	}
}

func (m *identityMetrics) register(r *prometheus.Registry) {
	r.MustRegister(m.pluginErrors, m.pluginTook, m.pluginConfig)
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
