package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
)

const (
	// callTimeout bounds one request, so that a wait sees more than one failure.
	callTimeout = 4 * time.Second
	// maxSkew is how far clocks may be apart. What Kubernetes signs is valid from
	// five minutes before.
	maxSkew = 5 * time.Minute
	// maxInfo bounds what is read of somebody who is not trusted yet.
	maxInfo = 1 << 20
)

// An answer is cluster-info and what came with it.
type answer struct {
	info *corev1.ConfigMap
	date time.Time // by the server's clock; zero if it did not say
}

// get reads cluster-info as nobody. Without an authority, it trusts nobody, and
// believes nothing of the answer.
func get(ctx context.Context, server string, ca []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	secure := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: ca == nil} //nolint:gosec // what is read is checked by its signature
	if ca != nil {
		secure.RootCAs = x509.NewCertPool()
		secure.RootCAs.AppendCertsFromPEM(ca)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, DialContext: (&net.Dialer{Timeout: callTimeout}).DialContext}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		server+"/api/v1/namespaces/"+metav1.NamespacePublic+"/configmaps/"+bootstrapapi.ConfigMapClusterInfo, nil)
	if err != nil {
		return nil, fail(ErrUnreachable, err.Error(), "write the API server as host:port")
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, unreached(server, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxInfo))
	if err != nil {
		return nil, unreached(server, err)
	}
	return read(server, response, body)
}

func read(server string, response *http.Response, body []byte) (*answer, error) {
	a := &answer{info: &corev1.ConfigMap{}}
	a.date, _ = http.ParseTime(response.Header.Get("Date"))
	switch response.StatusCode {
	case http.StatusOK:
		if err := json.Unmarshal(body, a.info); err != nil {
			return nil, fail(ErrNotJoinable, fmt.Sprintf("%s is no API server: it answers with something else than a ConfigMap", server), "check address and port")
		}
		return a, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fail(ErrNotJoinable, fmt.Sprintf("%s does not show its ConfigMap cluster-info to strangers (%s)", server, response.Status),
			"join with --discovery-file and a kubeconfig of the cluster")
	default:
		return nil, passing{fail(ErrNotJoinable, fmt.Sprintf("%s does not show the ConfigMap cluster-info (%s)", server, response.Status),
			"check that this is the address of a cluster's API server, and that the cluster is up")}
	}
}

// unreached says why there was no answer at all.
func unreached(server string, err error) error {
	var untrusted *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS):
		return fail(ErrUntrusted, server+" does not speak TLS", "check address and port: the API server's port is usually 6443")
	case errors.As(err, &untrusted):
		return fail(ErrUntrusted, fmt.Sprintf("%s shows a certificate that can not be trusted: %v", server, untrusted.Err),
			"check that the address is the one the cluster's API server has in its certificate, and the clocks of both hosts")
	}
	return passing{fail(ErrUnreachable, fmt.Sprintf("reach the API server at %s: %v", server, err),
		"check address and port, that the control plane is up, and that no firewall is between")}
}

// sameTime compares the clocks: certificates by a wrong one are not valid, and
// that says nothing of the reason.
func (o Options) sameTime(a *answer, server string) error {
	if a.date.IsZero() {
		return nil
	}
	skew := o.now().Sub(a.date)
	if skew.Abs() <= maxSkew {
		return nil
	}
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	return fail(ErrClock, fmt.Sprintf("the clock of this host is %s %s that of %s", skew.Abs().Round(time.Minute), way, server),
		"set the clocks, with 'timedatectl set-ntp true' or 'date -s'")
}
