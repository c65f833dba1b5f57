package server

import (
	"crypto/tls"
	"fmt"

	cliflag "k8s.io/component-base/cli/flag"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// tlsConfig returns how to serve as the configuration says. Client certificates
// are asked for and verified later, against an authority that may change.
func tlsConfig(c *kubeletv1beta1.KubeletConfiguration, cert *certificate) (*tls.Config, error) {
	version, err := cliflag.TLSVersion(c.TLSMinVersion)
	if err != nil {
		return nil, fmt.Errorf("read tlsMinVersion: %w", err)
	}
	config := &tls.Config{
		MinVersion: version, ClientAuth: tls.RequestClientCert,
		GetCertificate: cert.get, NextProtos: []string{"h2", "http/1.1"},
	}
	if len(c.TLSCipherSuites) > 0 { // none named are those of the Go release
		if config.CipherSuites, err = cliflag.TLSCipherSuites(c.TLSCipherSuites); err != nil {
			return nil, fmt.Errorf("read tlsCipherSuites: %w", err)
		}
	}
	for _, curve := range c.TLSCurvePreferences {
		config.CurvePreferences = append(config.CurvePreferences, tls.CurveID(curve))
	}
	return config, nil
}
